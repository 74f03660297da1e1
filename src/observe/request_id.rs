//! Request ids: what a client quotes and the operator greps. Unique over all cores, replicas and
//! restarts, cheap to make, and silent about how busy the gateway is.

use std::cell::{Cell, RefCell};
use std::fmt;

use bytes::BytesMut;
use http::HeaderValue;

use super::encode;
use crate::secret::{self, NoRandomness};

/// One request. Written as 32 lower-case hex digits. Not a secret, never taken from a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// The id whose 128 bits are these.
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// A number that differs from one request to the next in its lowest bits, too.
    pub const fn spread(self) -> u64 {
        let [.., a, b] = self.0.to_be_bytes();
        u16::from_be_bytes([a, b]) as u64
    }

    /// The 32 digits, without an allocation.
    pub fn text(self) -> RequestIdText {
        RequestIdText(encode::digits(self.0.to_be_bytes()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The digits of a [`RequestId`], ready for a header field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestIdText([u8; 32]);

impl RequestIdText {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As bytes, all of them ASCII hex digits.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Where one core takes its ids from. Not `Sync`: each core has its own.
#[derive(Debug)]
pub struct RequestIds {
    /// The upper half; drawn anew for each core and start.
    prefix: u64,
    /// Added to the count before mixing, so that two sources never show the same lower halves.
    offset: u64,
    count: Cell<u64>,
    /// Where the next ones are written as field values, which share it.
    room: RefCell<BytesMut>,
}

/// Ids that share one piece of memory: as long as one of them lives, so does that.
const TOGETHER: usize = 64;

impl RequestIds {
    /// A source that nobody else shares.
    pub fn new() -> Result<Self, NoRandomness> {
        let prefix = u64::from_be_bytes(secret::random()?);
        let offset = u64::from_be_bytes(secret::random()?);
        Ok(Self { prefix, offset, count: Cell::new(0), room: RefCell::default() })
    }

    /// An id as a field value.
    pub fn value(&self, id: RequestId) -> HeaderValue {
        let (mut room, text) = (self.room.borrow_mut(), id.text());
        if room.capacity() < text.as_bytes().len() {
            *room = BytesMut::with_capacity(TOGETHER * text.as_bytes().len());
        }
        room.extend_from_slice(text.as_bytes());
        // Digits are always a value.
        let mut value = HeaderValue::from_maybe_shared(room.split().freeze())
            .unwrap_or(HeaderValue::from_static("-"));
        // What comes once is not to fill the table of HPACK (RFC 7541 section 6.2.3), where it would
        // drive out what comes often, and be compared with all that came before.
        value.set_sensitive(true);
        value
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let count = self.count.get();
        self.count.set(count.wrapping_add(1));
        let low = mix(count.wrapping_add(self.offset));
        RequestId((u128::from(self.prefix) << 64) | u128::from(low))
    }
}

/// The finaliser of SplitMix64. A bijection, so no id of one source comes twice before 2^64 of them;
/// and a plain count would tell every client how many requests were served since it last asked.
const fn mix(count: u64) -> u64 {
    let mixed = (count ^ (count >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_core_and_of_two_never_come_twice() {
        let (one, two) = (RequestIds::new().unwrap(), RequestIds::new().unwrap());
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(one.next()));
            assert!(seen.insert(two.next()));
        }
    }

    #[test]
    fn an_id_is_written_as_32_lower_case_hex_digits() {
        let id = RequestId::from_u128(0x00ab_cdef_0123_4567_89ab_cdef_0000_000f);
        assert_eq!(id.to_string(), "00abcdef0123456789abcdef0000000f");
        assert_eq!(id.text().as_bytes(), b"00abcdef0123456789abcdef0000000f");
    }

    #[test]
    fn ids_keep_their_text_as_values_however_many_share_their_memory() {
        let source = RequestIds::new().unwrap();
        let ids: Vec<_> = (0..3 * TOGETHER).map(|_| source.next()).collect();
        let values: Vec<_> = ids.iter().map(|&id| source.value(id)).collect();
        for (id, value) in ids.iter().zip(values) {
            assert_eq!(value, id.to_string().as_str());
        }
    }

    #[test]
    fn two_ids_in_a_row_do_not_differ_by_a_count() {
        let ids = RequestIds::new().unwrap();
        let (first, second) = (ids.next(), ids.next());
        assert_eq!(first.0 >> 64, second.0 >> 64);
        assert!((first.0 ^ second.0).count_ones() > 8);
    }
}
