//! Where one frame of WebSocket ends and the next may begin (RFC 6455 section 5.2), so that a stream
//! that must end can end with a word of ours that its reader understands.

/// Follows the frames of one direction without keeping any of them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the present frame's head, as far as they are needed.
    head: [u8; 14],
    have: usize,
    /// Bytes of its payload that are still to come.
    left: u64,
}

impl Frames {
    /// Takes note of what has been passed on.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or_default();
            while self.left == 0
                && let Some((&byte, rest)) = bytes.split_first()
            {
                bytes = rest;
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = byte;
                }
                self.have += 1;
                if let Some(length) = self.length() {
                    (self.have, self.left) = (0, length);
                }
            }
        }
    }

    /// The payload's length, once the whole head is there.
    fn length(&self) -> Option<u64> {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        let (extended, length) = match second & 0x7f {
            126 => (2, u64::from(u16::from_be_bytes([a, b]))),
            127 => (8, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            short => (0, u64::from(short)),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        (self.have >= 2 && self.have == 2 + extended + mask).then_some(length)
    }

    /// Whether a frame of ours may stand here.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(&[1, 2, 3, 4][..if masked { 4 } else { 0 }]);
        bytes.extend(vec![0x7f; length]);
        bytes
    }

    proptest! {
        #[test]
        fn every_end_of_a_frame_is_found_and_nothing_else_is(
            frames in prop::collection::vec((0_usize..70_000, any::<bool>()), 1..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut stream = Vec::new();
            let mut ends = vec![0];
            for (length, masked) in frames {
                stream.extend(frame(length, masked));
                ends.push(stream.len());
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend(&ends);
            cuts.sort_unstable();
            let (mut follower, mut at) = (Frames::default(), 0);
            for cut in cuts {
                follower.pass(&stream[at..cut]);
                at = cut;
                prop_assert_eq!(follower.is_between(), ends.contains(&cut), "at {}", cut);
            }
        }
    }
}
