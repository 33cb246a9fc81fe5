//! The faults as reconciliation sees them: one item per culprit and epoch, whichever proof of it one holds. SPEC.md §21.

use super::Faults;
use crate::{
    bans::Offence,
    bundle::{self, Record},
    fault::{Fault, MAX_FAULT_LEN},
    id::{derive, short_id},
    reconcile::{self, Key, MAX_ITEM},
    wire::Reader,
};
use std::sync::Arc;

// The longest proof is an item.
const _: () = assert!(3 + MAX_FAULT_LEN <= MAX_ITEM);

/// All proofs, for [`reconcile`].
pub(in crate::pki) struct FaultItems<'a> {
    faults: &'a Faults,
    row: Arc<[Key]>,
}

impl<'a> FaultItems<'a> {
    pub(super) fn new(faults: &'a Faults, row: Arc<[Key]>) -> Self {
        Self { faults, row }
    }
}

impl reconcile::Items for FaultItems<'_> {
    fn keys(&self) -> &[Key] {
        &self.row
    }

    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let offence = self.faults.keys.get(key);
        if let Some(kept) = offence.and_then(|offence| self.faults.get(offence)) {
            bundle::put(out, Record::Fault(&kept.bytes));
        }
    }

    fn key_of(&self, item: &[u8]) -> Option<Key> {
        let mut reader = Reader::new(item);
        let Record::Fault(bytes) = bundle::record(&mut reader)? else {
            return None;
        };
        reader.end()?;
        let fault = Fault::decode(bytes).ok()?;
        Some(key(&Offence {
            culprit: short_id(&self.faults.network, &fault.culprit()),
            epoch: fault.epoch(),
        }))
    }

    fn refuses(&self, key: &Key) -> bool {
        self.faults.refused.contains(key)
    }
}

/// The first 16 B of `derive("fault-item", culprit's short id ‖ epoch 4)`.
pub(super) fn key(offence: &Offence) -> Key {
    let epoch = offence.epoch.to_le_bytes();
    let hash = derive("murmuration/v1/fault-item", &[&offence.culprit.0, &epoch]);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}
