//! Writes fixed-size frames to an outbound substream, and notices when the other side stops reading.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::AsyncWrite;
use tokio::time::Sleep;

use super::Frame;
use crate::net::types::FRAME_LEN;

/// How long one write may wait for the other side.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// How writing went on.
#[derive(Debug)]
pub(super) enum Write {
    /// This frame was handed to the connection whole.
    Done(Frame),
    /// Nothing left to write and all of it flushed.
    Idle,
    /// No byte went for too long.
    Stalled,
    /// The stream broke.
    Broken,
}

/// One substream and the frame being written.
pub(super) struct Writer<S> {
    stream: S,
    frame: Option<(Frame, usize)>,
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
            frame: None,
            unflushed: false,
            stall: None,
            patience,
        }
    }

    /// Room for the next frame.
    pub(super) fn is_free(&self) -> bool {
        self.frame.is_none()
    }

    /// A frame that has begun to be written and is not done.
    pub(super) fn is_inside(&self) -> bool {
        self.frame.is_some()
    }

    /// Takes the next frame; only when [`is_free`](Self::is_free).
    pub(super) fn start(&mut self, frame: Frame) {
        self.frame = Some((frame, 0));
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Write> {
        if let Some((frame, mut written)) = self.frame.take() {
            while written < FRAME_LEN {
                match Pin::new(&mut self.stream).poll_write(cx, &frame[written..]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        written += count;
                        self.stall = None;
                    }
                    Poll::Ready(_) => {
                        self.frame = Some((frame, written));
                        return Poll::Ready(Write::Broken);
                    }
                    Poll::Pending => {
                        self.frame = Some((frame, written));
                        return self.poll_stall(cx);
                    }
                }
            }
            self.unflushed = true;
            return Poll::Ready(Write::Done(frame));
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
            Write::Done(_)
        ));
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
        assert!(writer.is_inside());
        assert_eq!(writer.stream.taken[..FRAME_LEN], [1; FRAME_LEN]);
        assert_eq!(writer.stream.taken.len(), 3 * FRAME_LEN / 2);
    }
}
