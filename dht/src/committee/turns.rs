//! Whose turn it is when: views of an epoch's certification, counted from its cut-off. Pure functions of the parameters.

use crate::{epoch, network::NetworkParams};
use mix::time::{Moment, Span};

/// When view `view` of an epoch begins: cut-off + settling + view × its length.
pub fn view_start(params: &NetworkParams, epoch: u32, view: u8) -> Moment {
    let ms = params
        .view_ms
        .saturating_mul(u64::from(view))
        .saturating_add(params.settle_ms);
    epoch::cutoff(params, epoch) + Span::from_millis(ms)
}

/// The view of an epoch that `now` lies in; `None` before the first and after the last.
pub fn view_at(params: &NetworkParams, epoch: u32, now: Moment) -> Option<u8> {
    let first = view_start(params, epoch, 0);
    if now < first {
        return None;
    }
    let since = (now - first).as_millis();
    u8::try_from(since / params.view_ms.max(1)).ok()
}
