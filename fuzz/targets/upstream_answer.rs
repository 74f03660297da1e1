//! An application's answer on the wire: head and chunks, in whatever pieces they come. The first
//! byte says where it is cut in two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport::upstream::read_answer;

fuzz_target!(|data: &[u8]| {
    let [cut, wire @ ..] = data else { return };
    let whole = read_answer(&[wire]);
    let cut = usize::from(*cut).min(wire.len());
    let pieces = read_answer(&[&wire[..cut], &wire[cut..]]);
    assert_eq!(whole, pieces, "an answer must not depend on how the network cuts it");
    if let Some(body) = whole {
        assert!(body.len() <= wire.len(), "more than was sent");
    }
});
