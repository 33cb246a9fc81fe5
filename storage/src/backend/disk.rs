//! skeleton

use std::path::Path;

use super::{Backend, BackendError, Batch, Space};

/// A store on disk. Clones share it; the last one to go releases the lock.
#[derive(Clone)]
pub struct DiskBackend {}

impl DiskBackend {
    /// Opens the store in `dir`, making it if it is not there.
    ///
    /// # Errors
    /// [`BackendError`]: unwritable, newer format, locked, corrupt.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BackendError> {
        let _ = dir;
        todo!()
    }
}

impl Backend for DiskBackend {
    fn get(&self, _: Space, _: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        todo!()
    }
    fn scan(
        &self,
        _: Space,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), BackendError> {
        todo!()
    }
    fn buckets(&self) -> Result<Vec<u32>, BackendError> {
        todo!()
    }
    fn commit(&self, _: &Batch) -> Result<(), BackendError> {
        todo!()
    }
    fn size(&self) -> Result<u64, BackendError> {
        todo!()
    }
}
