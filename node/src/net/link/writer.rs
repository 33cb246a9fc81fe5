//! Writes fixed-size frames to an outbound substream, and notices when the other side stops reading.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::AsyncWrite;
use tokio::time::Sleep;

use super::Frame;

/// Frames written together when they wait together: one piece of the multiplexer (16 KiB), one message of the noise channel,
/// one system call. Nothing waits for others to come.
pub(crate) const TOGETHER: usize = 8;

/// How long one write may wait for the other side.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// How writing went on.
#[derive(Debug)]
pub(super) enum Write {
    /// The frames given were handed to the connection whole: [`Writer::take`] them.
    Done,
    /// Nothing left to write and all of it flushed.
    Idle,
    /// No byte went for too long.
    Stalled,
    /// The stream broke.
    Broken,
}

/// One substream and the frames being written.
pub(super) struct Writer<S> {
    stream: S,
    frames: Vec<Frame>,
    /// The bytes of several frames, one after another. A single one is written from where it lies.
    together: Vec<u8>,
    written: usize,
    unflushed: bool,
    /// Runs only while the stream takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    /// `patience`: how long the stream may take nothing, usually [`TIMEOUT`].
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            frames: Vec::with_capacity(TOGETHER),
            together: Vec::new(),
            written: 0,
            unflushed: false,
            stall: None,
            patience,
        }
    }

    /// Room for the next frame: nothing is being written, and few wait for it.
    pub(super) fn has_room(&self) -> bool {
        self.written == 0 && self.together.is_empty() && self.frames.len() < TOGETHER
    }

    /// Frames taken in and not yet handed over whole.
    pub(super) fn inside(&self) -> usize {
        self.frames.len()
    }

    /// Takes the next frame; only while it [`has_room`](Self::has_room).
    pub(super) fn start(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// The frames that were written. To be called after [`Write::Done`], before the next one is given.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.frames.drain(..)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Write> {
        if !self.frames.is_empty() {
            if self.frames.len() > 1 && self.together.is_empty() {
                for frame in &self.frames {
                    self.together.extend_from_slice(&frame[..]);
                }
            }
            let bytes: &[u8] = match self.frames.as_slice() {
                [frame] => &frame[..],
                _ => &self.together,
            };
            while self.written < bytes.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &bytes[self.written..]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        self.written += count;
                        self.stall = None;
                    }
                    Poll::Ready(_) => return Poll::Ready(Write::Broken),
                    Poll::Pending => return self.poll_stall(cx),
                }
            }
            self.together.clear();
            self.written = 0;
            self.unflushed = true;
            return Poll::Ready(Write::Done);
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.unflushed = false;
                    self.stall = None;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Write::Broken),
                Poll::Pending => return self.poll_stall(cx),
            }
        }
        Poll::Ready(Write::Idle)
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<Write> {
        let patience = self.patience;
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stall.as_mut().poll(cx).map(|()| Write::Stalled)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::net::types::FRAME_LEN;

    /// Takes `room` bytes and then nothing more.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.room).min(700);
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn partial_writes_add_up_and_a_stall_is_noticed() {
        let mut writer = Writer::new(
            Narrow {
                room: 3 * FRAME_LEN / 2,
                taken: Vec::new(),
            },
            Duration::from_millis(20),
        );
        writer.start(Box::new([1; FRAME_LEN]));
        assert!(matches!(
            futures::future::poll_fn(|cx| writer.poll(cx)).await,
            Write::Done
        ));
        assert_eq!(writer.take().count(), 1);
        assert!(matches!(
            futures::future::poll_fn(|cx| writer.poll(cx)).await,
            Write::Idle
        ));
        writer.start(Box::new([2; FRAME_LEN]));
        // Nothing but the timer can wake this.
        assert!(matches!(
            futures::future::poll_fn(|cx| writer.poll(cx)).await,
            Write::Stalled
        ));
        assert!(writer.inside() == 1 && !writer.has_room());
        assert_eq!(writer.stream.taken[..FRAME_LEN], [1; FRAME_LEN]);
        assert_eq!(writer.stream.taken.len(), 3 * FRAME_LEN / 2);
    }

    #[tokio::test]
    async fn frames_that_wait_together_leave_together_in_order() {
        let room = 100 * FRAME_LEN;
        let taken = Vec::new();
        let mut writer = Writer::new(Narrow { room, taken }, TIMEOUT);
        for count in [2, 1, TOGETHER, 3] {
            let before = writer.stream.taken.len();
            for number in 0..count {
                assert!(writer.has_room());
                writer.start(Box::new([number as u8; FRAME_LEN]));
            }
            assert_eq!(writer.has_room(), count < TOGETHER);
            assert!(matches!(
                futures::future::poll_fn(|cx| writer.poll(cx)).await,
                Write::Done
            ));
            let numbers: Vec<_> = writer.take().map(|frame| usize::from(frame[0])).collect();
            assert_eq!(numbers, (0..count).collect::<Vec<_>>());
            let bytes = &writer.stream.taken[before..];
            assert_eq!(bytes.len(), count * FRAME_LEN);
            let in_order = |(place, byte): (usize, &u8)| usize::from(*byte) == place / FRAME_LEN;
            assert!(bytes.iter().enumerate().all(in_order));
        }
    }
}
