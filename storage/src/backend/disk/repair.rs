//! A torn last batch: cut off, so that the store opens on what was durable before it.
//!
//! The engine drops an unfinished last batch by itself, but refuses the whole store if that batch has its end mark and a page inside was never
//! written (a power cut may write pages in any order). Such a batch was not acknowledged: its `fsync` had not returned. Taking away its end mark
//! makes it an unfinished one. If the store does not open even so, the damage is elsewhere, and the bytes are put back.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What was cut, to put it back.
pub(super) struct Cut {
    journal: PathBuf,
    length: u64,
    at: u64,
    byte: u8,
}

impl Cut {
    /// Puts the bytes back. Best effort: the store is not opened in either case.
    pub(super) fn undo(self) {
        if let Ok(mut file) = OpenOptions::new().write(true).open(&self.journal) {
            let _ = file
                .seek(SeekFrom::Start(self.at))
                .and_then(|_| file.write_all(&[self.byte]));
            let _ = file.set_len(self.length).and_then(|()| file.sync_all());
        }
    }
}

/// Cuts the last byte that is not zero off the newest journal. None if there is no journal, or nothing in it.
pub(super) fn cut_last_batch(store: &Path) -> Option<Cut> {
    let journal = newest_journal(store)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&journal)
        .ok()?;
    let length = file.metadata().ok()?.len();
    let (at, byte) = last_non_zero(&mut file, length)?;
    file.set_len(at).and_then(|()| file.sync_all()).ok()?;
    Some(Cut {
        journal,
        length,
        at,
        byte,
    })
}

fn newest_journal(store: &Path) -> Option<PathBuf> {
    let number = |path: &PathBuf| {
        let is_journal = path.extension().is_some_and(|e| e == "jnl");
        is_journal
            .then(|| path.file_stem()?.to_str()?.parse::<u64>().ok())
            .flatten()
    };
    let paths = fs::read_dir(store)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    paths
        .filter_map(|path| Some((number(&path)?, path)))
        .max()
        .map(|(_, path)| path)
}

/// From the end backwards, in blocks: the journal is 64 MiB long with mostly nothing in it.
fn last_non_zero(file: &mut File, length: u64) -> Option<(u64, u8)> {
    const BLOCK: u64 = 64 << 10;
    let mut block = vec![0u8; BLOCK as usize];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let part = block.get_mut(..usize::try_from(end - start).ok()?)?;
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_exact(part))
            .ok()?;
        if let Some(at) = part.iter().rposition(|byte| *byte != 0) {
            return Some((start + at as u64, part[at]));
        }
        end = start;
    }
    None
}
