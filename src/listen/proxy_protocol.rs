//! The PROXY protocol, versions 1 and 2: before anything else a load balancer says in one header for
//! whom it speaks. Only from the peers that the config names, and from those always: what could be
//! left out could be forged.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The protocol's specification, section 2.2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1: the longest line, with its end.
const LINE_MAX: usize = 107;
/// Addresses and what else a balancer wants to tell (section 2.2.7). We read none of that.
const BINARY_MAX: u16 = 4096;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The peer sent something else.
    #[error("no PROXY header: {0}")]
    Malformed(&'static str),
    /// The connection ended or broke.
    #[error("the connection ended before the PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header, and not a byte more. `None`: the peer speaks for itself (health checks), or for
/// somebody without an address that we know.
pub(super) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<SocketAddr>, Unreadable> {
    // As many bytes as the shortest header of either version has.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(Unreadable::Malformed("it begins otherwise"));
    }
    let mut line = start.to_vec();
    // The line's end could be anywhere, and what follows it is not ours to take.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_MAX {
            return Err(Unreadable::Malformed("the line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    text(&line)
}

/// `PROXY TCP4 source destination port port`
fn text(line: &[u8]) -> Result<Option<SocketAddr>, Unreadable> {
    let malformed = || Unreadable::Malformed("the line cannot be read");
    let line = str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n"));
    let mut words = line.ok_or_else(malformed)?.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let (Some(source), Some(destination), Some(port), Some(to), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed());
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let (Some(port), Some(_to)) = (number(port), number(to)) else { return Err(malformed()) };
    let address: Option<IpAddr> = match family {
        Some("TCP4") => source
            .parse::<Ipv4Addr>()
            .ok()
            .filter(|_| destination.parse::<Ipv4Addr>().is_ok())
            .map(IpAddr::V4),
        Some("TCP6") => source
            .parse::<Ipv6Addr>()
            .ok()
            .filter(|_| destination.parse::<Ipv6Addr>().is_ok())
            .map(IpAddr::V6),
        _ => None,
    };
    let address = address.ok_or_else(malformed)?;
    Ok(Some(SocketAddr::new(address.to_canonical(), port)))
}

async fn binary<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, Unreadable> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = stream.read_u16().await?;
    if length > BINARY_MAX {
        return Err(Unreadable::Malformed("it is too long"));
    }
    let mut rest = vec![0; usize::from(length)];
    stream.read_exact(&mut rest).await?;
    match command {
        // LOCAL: whatever addresses there are, they are to be ignored.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(Unreadable::Malformed("another version or command")),
    }
    match (family, rest.as_slice()) {
        // Source, destination, their ports: IPv4, IPv6.
        (0x11 | 0x12, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Ok(Some(SocketAddr::new(address.into(), u16::from_be_bytes([*high, *low]))))
        }
        (0x21 | 0x22, rest) => {
            let Some((address, rest)) = rest.split_first_chunk::<16>() else {
                return Err(Unreadable::Malformed("it is too short for its addresses"));
            };
            let Some((_destination, [high, low, _, _, ..])) = rest.split_first_chunk::<16>() else {
                return Err(Unreadable::Malformed("it is too short for its addresses"));
            };
            let address = IpAddr::V6(Ipv6Addr::from(*address)).to_canonical();
            Ok(Some(SocketAddr::new(address, u16::from_be_bytes([*high, *low]))))
        }
        (0x11 | 0x12, _) => Err(Unreadable::Malformed("it is too short for its addresses")),
        // AF_UNSPEC, AF_UNIX: nothing that could be a client's address.
        _ => Ok(None),
    }
}

/// A door for the fuzz target `proxy_header`; in no other build. Takes the header off the front of
/// `rest`; `None`: there is none that can be read.
#[cfg(fuzzing)]
pub fn read_proxy_header(rest: &mut &[u8]) -> Option<Option<SocketAddr>> {
    // Memory never keeps anybody waiting.
    futures_util::FutureExt::now_or_never(read(rest))?.ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read, and what is left of `bytes`.
    fn read_all(bytes: &[u8]) -> (Result<Option<String>, Unreadable>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut stream = bytes;
        let found = runtime.block_on(read(&mut stream));
        (found.map(|address| address.map(|address| address.to_string())), stream.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn a_line_names_the_client_and_takes_nothing_of_what_follows() {
        for (line, address) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", Some("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", Some("[2001:db8::1]:1")),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Some("192.0.2.1:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN what ever 1 2\r\n", None),
        ] {
            let (found, rest) = read_all(format!("{line}GET / HTTP/1.1").as_bytes());
            assert_eq!(found.unwrap().as_deref(), address, "{line}");
            assert_eq!(rest, b"GET / HTTP/1.1");
        }
    }

    #[test]
    fn a_binary_header_does_too() {
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 1, 0xbb, 9, 9, 9];
        let mut six = vec![0x20, 1, 0xd, 0xb8];
        six.extend([0; 11]);
        six.push(1);
        six.extend([0; 16]);
        six.extend([0, 1, 0, 2]);
        for (header, address) in [
            (v2(0x21, 0x11, &four), Some("192.0.2.1:4660")),
            (v2(0x21, 0x21, &six), Some("[2001:db8::1]:1")),
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0, &[]), None),
            (v2(0x21, 0x31, &[7; 216]), None),
        ] {
            let (found, rest) = read_all(&[&header[..], b"next"].concat());
            assert_eq!(found.unwrap().as_deref(), address);
            assert_eq!(rest, b"next");
        }
    }

    #[test]
    fn what_is_no_header_or_has_no_end_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443 x\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 443\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            b"PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            b"PROXY UNKNOWN",
            b"",
        ] {
            assert!(read_all(bytes).0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 1000]].concat();
        let (found, rest) = read_all(&endless);
        assert!(found.is_err() && rest.len() > 900, "it is not read on and on");
        for bytes in [
            v2(0x21, 0x11, &[1; 9]),
            v2(0x21, 0x21, &[1; 35]),
            v2(0x22, 0x11, &[1; 12]),
            v2(0x31, 0x11, &[1; 12]),
            v2(0x21, 0x11, &[1; 5000]),
        ] {
            assert!(read_all(&bytes).0.is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_program_or_are_read_without_end(
            binary in any::<bool>(),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let start: &[u8] = if binary { &SIGNATURE } else { b"PROXY " };
            let all = [start, &bytes].concat();
            let (_found, rest) = read_all(&all);
            prop_assert!(rest.len() <= all.len());
        }
    }
}
