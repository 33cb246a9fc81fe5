//! Connects split views to conversations, loops, disk and users.

use dht::certificate::Certificate;
use mix::time::Moment;
use storage::backend::Backend;

use super::record::Alarm;
use super::{AlarmKey, Certified, OWN, Raised};
use crate::core::records::{hex, key};
use crate::core::{ConversationId, Core, Then};
use crate::error::Error;
use crate::request::{RequestError, RequestErrorKind};
use crate::session::conversation::Conversation;
use crate::view::{AlarmView, Event};

impl<B: Backend> Core<B> {
    /// Reads alarms and certified epochs. The epochs are a cache; an alarm that can't be read stops nothing either, but is kept.
    pub(in crate::core) fn load_split(&mut self) -> Result<(), Error> {
        let known = self.read_state(key::CERTIFIED)?;
        let known = known
            .iter()
            .filter_map(|(_, bytes)| Certified::from_bytes(&self.network, bytes));
        let known = known.collect();
        let alarms = self.read_state(key::ALARM)?;
        let alarms = alarms
            .iter()
            .filter_map(|(_, bytes)| Alarm::from_bytes(bytes));
        let alarms = alarms.collect();
        self.split.restore(known, alarms);
        let roots: Vec<_> = self.split.roots().collect();
        for talk in self.people.talks.values_mut() {
            for (epoch, root) in &roots {
                talk.conversation.set_root(*epoch, Some(*root));
            }
        }
        Ok(())
    }

    /// This epoch's directory, the one in use, is certified.
    pub(in crate::core) fn learn_certified(&mut self, now: Moment, one: Certified) {
        let (epoch, bytes) = (one.epoch, one.to_bytes());
        let fresh = self.split.root(epoch).is_none();
        let (gone, raised) = self.split.certified(now, one);
        if fresh {
            self.write_state(&certified_key(epoch), &bytes);
        }
        for epoch in gone {
            self.delete_state(&certified_key(epoch));
        }
        self.follow_up(now, None, raised);
    }

    /// Another certificate of an epoch that is certified here came along.
    pub(in crate::core) fn learn_rival(&mut self, now: Moment, rival: &Certificate) {
        let raised = self.split.rival(now, rival);
        self.follow_up(now, None, raised);
    }

    /// What conversations say of an epoch from now on.
    pub(in crate::core) fn say_root(&mut self, epoch: u32) {
        let root = self.split.root(epoch);
        for talk in self.people.talks.values_mut() {
            talk.conversation.set_root(epoch, root);
        }
    }

    /// A conversation that is just beginning knows what the others know.
    pub(in crate::core) fn teach_roots(&self, now: Moment, conversation: &mut Conversation) {
        conversation.set_root(self.epoch(now), None);
        for (epoch, root) in self.split.roots() {
            conversation.set_root(epoch, Some(root));
        }
    }

    /// A contact's frame stands for another certified root than ours.
    pub(in crate::core) fn hear_disagreement(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        epoch: u32,
        check: [u8; 8],
    ) {
        let Some(contact) = self.people.talks.get(&conversation).map(|one| one.contact) else {
            return;
        };
        let raised = self.split.disagrees(now, contact, epoch, check);
        self.follow_up(now, Some(conversation), raised);
    }

    /// A contact's node says something that is not for its user.
    pub(in crate::core) fn hear_note(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        body: &[u8],
    ) {
        let Some(talk) = self.people.talks.get(&conversation) else {
            return;
        };
        let (contact, network) = (talk.contact, self.network);
        let means = |epoch, root: &[u8; 32], check: &[u8; 8]| {
            talk.conversation.peer_means(epoch, root, check)
        };
        let raised = self.split.note(now, &network, contact, body, means);
        self.follow_up(now, Some(conversation), raised);
    }

    /// Writes, sends, tells. The user is told once it is on disk: an alarm survives what comes after it.
    fn follow_up(&mut self, now: Moment, conversation: Option<ConversationId>, raised: Raised) {
        let Raised {
            alarm,
            note,
            faults,
        } = raised;
        // It checks, keeps and gossips them.
        for fault in &faults {
            self.pki.handle_fault(now, fault);
        }
        let Some(alarm) = alarm else { return };
        self.save_alarm(&alarm);
        if let Some((note, conversation)) = note.zip(conversation) {
            self.send_note(now, conversation, &note);
        }
        if let Some(view) = self.alarm_view(&alarm) {
            let view = view.without_certificates();
            self.journal.after(Then::Tell(Event::Alarm { alarm: view }));
        }
    }

    /// To the node of the conversation's contact, over the conversation that sends.
    fn send_note(&mut self, now: Moment, conversation: ConversationId, note: &[u8]) {
        let mut id = [0; 16];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut id);
        let contact = self.people.talks.get(&conversation).map(|one| one.contact);
        let over = contact
            .and_then(|contact| self.active_talk(&contact))
            .unwrap_or(conversation);
        let params = &self.config.params;
        let life = u64::from(params.parked_days).saturating_mul(params.day_ms);
        let at = now.as_millis();
        if let Some(talk) = self.people.talks.get_mut(&over) {
            // A full queue costs the other side our certificate, not its alarm: it saw our frames.
            let _ = (talk.conversation).submit_note(at, id, note, at.saturating_add(life));
            self.save_talk(&over);
        }
    }

    fn save_alarm(&mut self, alarm: &AlarmKey) {
        if let Some(bytes) = self.split.alarm(alarm).map(Alarm::to_bytes) {
            let name = format!(
                "{}{}{}",
                key::ALARM,
                hex(&alarm.0),
                hex(&alarm.1.to_be_bytes())
            );
            self.write_state(&name, &bytes);
        }
    }

    fn alarm_view(&self, alarm: &AlarmKey) -> Option<AlarmView> {
        let name = match alarm.0 {
            OWN => String::new(),
            contact => self.name_of(&contact),
        };
        Some(self.split.alarm(alarm)?.view(name))
    }

    /// All alarms kept, with their evidence, the oldest first.
    #[must_use]
    pub fn alarms(&self) -> Vec<AlarmView> {
        let keys = self.split.alarms().map(Alarm::key);
        let mut views: Vec<_> = keys.filter_map(|key| self.alarm_view(&key)).collect();
        views.sort_by_key(|view| view.raised_at);
        views
    }

    /// The user has seen an alarm: it is kept as evidence and no longer shown at every turn.
    pub fn alarm_seen(&mut self, id: &str) -> Result<(), RequestError> {
        let found = self.split.alarms().find(|alarm| alarm.name() == id);
        let Some(alarm) = found.map(Alarm::key) else {
            return Err(RequestError::new(
                RequestErrorKind::NotFound,
                format!("there is no alarm {id}"),
                "`murmur alarms` lists them with their ids",
            ));
        };
        if self.split.seen(&alarm) {
            self.save_alarm(&alarm);
        }
        Ok(())
    }

    /// Alarms the user has not seen.
    pub(in crate::core) fn open_alarms(&self) -> usize {
        self.split.alarms().filter(|alarm| !alarm.seen).count()
    }

    /// Writes our view into the second half of a loop's id; the first is its number.
    pub(in crate::core) fn sign_loop(&self, epoch: u32, id: &mut [u8; 16]) {
        let root = self.split.in_use(epoch);
        let (number, check) = id.split_at_mut(8);
        check.copy_from_slice(&self.loop_check(epoch, number, root));
    }

    /// Whether a loop that came back left under the certified root in use, or under none.
    pub(in crate::core) fn loop_agrees(&self, epoch: u32, id: &[u8; 16]) -> bool {
        let (number, check) = id.split_at(8);
        let root = self.split.in_use(epoch);
        [root, None]
            .into_iter()
            .any(|root| self.loop_check(epoch, number, root) == check)
    }

    fn loop_check(&self, epoch: u32, number: &[u8], root: Option<[u8; 32]>) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.loop_key);
        hasher.update(number);
        hasher.update(&epoch.to_le_bytes());
        hasher.update(root.as_ref().map_or(&[], |root| root.as_slice()));
        let mut check = [0; 8];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        check
    }
}

fn certified_key(epoch: u32) -> String {
    key::of(key::CERTIFIED, &epoch.to_be_bytes())
}
