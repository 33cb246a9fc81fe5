//! Reads fixed-size frames from an inbound substream. There is no length on the wire: every 2,048 bytes are a frame.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::AsyncRead;

use super::Frame;
use crate::net::types::FRAME_LEN;

/// How reading went on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A frame is complete: [`Reader::take`] or [`Reader::discard`] it.
    Frame,
    /// The stream ended between frames.
    End,
    /// The stream ended inside a frame.
    Truncated,
}

/// One substream and the frame being filled.
pub(super) struct Reader<S> {
    stream: S,
    frame: Frame,
    filled: usize,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            frame: Box::new([0; FRAME_LEN]),
            filled: 0,
        }
    }

    /// Fills the frame. After [`Read::Frame`] the frame must be taken or discarded first.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        while self.filled < FRAME_LEN {
            let rest = &mut self.frame[self.filled..];
            match Pin::new(&mut self.stream).poll_read(cx, rest) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(read)) if read > 0 => self.filled += read,
                // A reset is an end too: what counts is whether a frame was lost with it.
                Poll::Ready(_) if self.filled == 0 => return Poll::Ready(Read::End),
                Poll::Ready(_) => return Poll::Ready(Read::Truncated),
            }
        }
        Poll::Ready(Read::Frame)
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The complete frame: the only allocation made for it.
    pub(super) fn take(&mut self) -> Frame {
        self.filled = 0;
        std::mem::replace(&mut self.frame, Box::new([0; FRAME_LEN]))
    }

    /// Drops the complete frame and uses its memory again.
    pub(super) fn discard(&mut self) {
        self.filled = 0;
    }

    /// A frame has begun and is not complete.
    pub(super) fn is_inside(&self) -> bool {
        self.filled > 0
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use futures::task::noop_waker;

    use super::*;

    fn read_all(bytes: Vec<u8>) -> (usize, Read) {
        let mut reader = Reader::new(Cursor::new(bytes));
        let waker = noop_waker();
        let mut frames = 0;
        loop {
            match reader.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Read::Frame) => {
                    assert!(reader.take().iter().all(|b| *b == frames as u8));
                    frames += 1;
                }
                Poll::Ready(end) => return (frames, end),
                Poll::Pending => unreachable!("a cursor never waits"),
            }
        }
    }

    #[test]
    fn frames_are_cut_every_2048_bytes() {
        let bytes: Vec<u8> = (0..5u8).flat_map(|i| [i; FRAME_LEN]).collect();
        assert_eq!(read_all(bytes.clone()), (5, Read::End));
        assert_eq!(
            read_all(bytes[..5 * FRAME_LEN - 1].to_vec()),
            (4, Read::Truncated)
        );
        assert_eq!(
            read_all(bytes[..4 * FRAME_LEN + 1].to_vec()),
            (4, Read::Truncated)
        );
        assert_eq!(read_all(Vec::new()), (0, Read::End));
    }

    #[test]
    fn a_discarded_frame_leaves_the_next_whole() {
        let mut bytes = vec![1; FRAME_LEN];
        bytes.extend([2; FRAME_LEN]);
        let mut reader = Reader::new(Cursor::new(bytes));
        let waker = noop_waker();
        assert_eq!(
            reader.poll(&mut Context::from_waker(&waker)),
            Poll::Ready(Read::Frame)
        );
        reader.discard();
        assert_eq!(
            reader.poll(&mut Context::from_waker(&waker)),
            Poll::Ready(Read::Frame)
        );
        assert_eq!(reader.take()[..], [2; FRAME_LEN]);
    }
}
