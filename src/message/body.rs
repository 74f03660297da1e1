//! Reading a body whole, within a bound. Only our own endpoints do; forwarded bodies stream.

use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Why there is no body. `E` is what the connection says.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// It has more bytes than allowed. The rest was not read: close the connection, or drain it.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// The peer broke off, or broke the framing.
    #[error("the body could not be read")]
    Broken(#[source] E),
}

/// Reads `body` to its end, at most `max_bytes` of it. Trailers are dropped. The caller sets the
/// time.
///
/// # Errors
/// [`ReadError::TooLarge`] as soon as that is certain, by the announced length if there is one.
pub async fn read_bounded<B: Body>(
    body: B,
    max_bytes: usize,
) -> Result<Bytes, ReadError<B::Error>> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(ReadError::TooLarge);
    }
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(ReadError::Broken)?.into_data() else { continue };
        let piece = data.remaining();
        if piece > max_bytes - first.len() - whole.len() {
            return Err(ReadError::TooLarge);
        }
        // Nearly all bodies come in one piece, which then needs no copy.
        if first.is_empty() && whole.is_empty() {
            first = data.copy_to_bytes(piece);
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data.copy_to_bytes(piece));
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_bound_and_not_beyond() {
        for (parts, bound, whole) in [
            (&[][..], 0, Some("")),
            (&["abc"], 3, Some("abc")),
            (&["abc"], 2, None),
            (&["a", "", "b", "c"], 3, Some("abc")),
            (&["a", "b", "c"], 2, None),
            (&["", "abc"], 3, Some("abc")),
        ] {
            let read = read_bounded(pieces(parts), bound).await;
            match (read, whole) {
                (Ok(read), Some(whole)) => assert_eq!(read, whole),
                (Err(ReadError::TooLarge), None) => {}
                (read, _) => panic!("{parts:?} within {bound}: {read:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_length_that_is_too_large_is_refused_unread() {
        let read = read_bounded(Full::new(Bytes::from_static(b"abcd")), 3).await;
        assert!(matches!(read, Err(ReadError::TooLarge)));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_an_error_and_not_a_short_body() {
        let frames = vec![
            Ok(Frame::data(Bytes::from_static(b"abc"))),
            Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        ];
        let read = read_bounded(StreamBody::new(stream::iter(frames)), 10).await;
        assert!(matches!(read, Err(ReadError::Broken(_))));
    }

    #[tokio::test]
    async fn trailers_are_no_part_of_a_body() {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> = vec![
            Ok(Frame::data(Bytes::from_static(b"abc"))),
            Ok(Frame::trailers(http::HeaderMap::new())),
        ];
        let read = read_bounded(StreamBody::new(stream::iter(frames)), 3).await;
        assert_eq!(read.unwrap(), "abc");
    }
}
