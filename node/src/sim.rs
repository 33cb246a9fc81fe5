//! Worlds in virtual time over the production core.

use crate::cli::SimArgs;
use crate::cli::print::Out;
use crate::error::{Error, ErrorKind};

pub(crate) fn command(_args: &SimArgs, _out: &mut Out) -> Result<u8, Error> {
    Err(Error::new(ErrorKind::Usage, "no scenario", "wait"))
}
