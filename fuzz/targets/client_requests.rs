//! The requests of one connection of HTTP/1.1, heads and bodies, in whatever pieces they come. The first
//! byte says where they are cut in two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sallyport::listen::read_requests;

fuzz_target!(|data: &[u8]| {
    let [cut, wire @ ..] = data else { return };
    let whole = read_requests(&[wire]);
    let cut = usize::from(*cut).min(wire.len());
    let pieces = read_requests(&[&wire[..cut], &wire[cut..]]);
    assert_eq!(whole, pieces, "requests must not depend on how the network cuts them");
    let bodies: usize = whole.iter().map(|(_, body, _)| body.len()).sum();
    assert!(bodies <= wire.len(), "more than was sent");
    // Nothing follows what was not read to its end.
    assert!(whole.iter().rev().skip(1).all(|(_, _, whole)| *whole), "{whole:?}");
});
