//! The limits on guesses, with the clock moved by hand.

mod properties;

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::clock::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

fn quota(count: u32, per: Duration) -> Quota {
    Quota { count: NonZeroU32::new(count).unwrap(), per }
}

fn attempts(max_keys: usize) -> Attempts {
    Attempts {
        acts: PerAct::each(|_| Quotas {
            per_account_and_network: quota(5, 15 * MINUTE),
            per_network: quota(50, 15 * MINUTE),
            per_account: quota(100, 15 * MINUTE),
            count_successes: false,
        }),
        forgeries: quota(50, 15 * MINUTE),
        per_device: quota(5, 15 * MINUTE),
        device_ttl: 1440 * MINUTE,
        max_keys: NonZeroUsize::new(max_keys).unwrap(),
    }
}

fn limits(clock: &Clock, max_keys: usize) -> Limits {
    Limits::new(&attempts(max_keys), None, clock)
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_secs(1_800_000_000))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Limits {
    fn begin(&self, account: &str, client: IpAddr) -> Result<Charge, Allowance> {
        self.charge(Guess { act: Act::Login, account, client, device: None })
    }

    fn begin_on(&self, device: u8, account: &str, client: IpAddr) -> Result<Charge, Allowance> {
        let device = Some(DeviceId::of(device));
        self.charge(Guess { act: Act::Login, account, client, device })
    }

    /// A wrong guess: what is left of the tightest limit.
    fn fail(&self, account: &str, client: IpAddr) -> Result<u32, Allowance> {
        self.begin(account, client).map(|charge| charge.allowance().remaining)
    }

    fn fail_on(&self, device: u8, account: &str, client: IpAddr) -> Result<u32, Allowance> {
        self.begin_on(device, account, client).map(|charge| charge.allowance().remaining)
    }
}

#[test]
fn the_sixth_guess_at_an_account_is_refused_until_one_interval_has_passed() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for left in (0..5).rev() {
        assert_eq!(limits.fail("ada", ip("192.0.2.1")), Ok(left));
    }
    let refused = limits.fail("ada", ip("192.0.2.1")).unwrap_err();
    assert_eq!((refused.limit, refused.remaining), (5, 0));
    assert_eq!(refused.retry_after, 3 * MINUTE);
    assert_eq!(refused.reset, 15 * MINUTE);
    clock.advance(3 * MINUTE);
    assert!(limits.fail("ada", ip("192.0.2.1")).is_ok());
    assert!(limits.fail("ada", ip("192.0.2.1")).is_err());
    let counted: Vec<_> = limits.refusals().filter(|(.., count)| *count > 0).collect();
    assert_eq!(counted, [("login", "account_and_network", 2)]);
}

#[test]
fn a_success_leaves_no_trace_however_many_are_under_way_and_however_long() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..200 {
        let under_way: Vec<_> =
            (0..5).map(|_| limits.begin("ada", ip("192.0.2.1")).unwrap()).collect();
        assert!(limits.begin("ada", ip("192.0.2.1")).is_err(), "more than five at once");
        clock.advance(Duration::from_secs(20));
        under_way.into_iter().for_each(Charge::succeeded);
        assert_eq!(limits.keys(), 0);
    }
    assert_eq!(limits.fail("ada", ip("192.0.2.1")), Ok(4));
}

#[test]
fn a_slow_success_gives_back_nothing_but_itself() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    // The success is under way while a guess is made; had its charge been taken back from the
    // guess's, then time would count twice.
    let slow = limits.begin("ada", ip("192.0.2.1")).unwrap();
    clock.advance(2 * MINUTE);
    limits.fail("ada", ip("192.0.2.1")).unwrap();
    slow.succeeded();
    assert_eq!(limits.fail("ada", ip("192.0.2.1")), Ok(3));
}

#[test]
fn who_goes_away_before_the_answer_has_guessed() {
    let limits = limits(&clock(), 1000);
    for _ in 0..5 {
        drop(limits.begin("ada", ip("192.0.2.1")).unwrap());
    }
    assert!(limits.begin("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_site_that_counts_successes_counts_them_but_not_what_was_never_compared() {
    let clock = clock();
    let mut attempts = attempts(1000);
    attempts.acts.login.count_successes = true;
    let limits = Limits::new(&attempts, None, &clock);
    for _ in 0..20 {
        limits.begin("ada", ip("192.0.2.1")).unwrap().refund();
    }
    for _ in 0..5 {
        limits.begin("ada", ip("192.0.2.1")).unwrap().succeeded();
    }
    assert!(limits.begin("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_refused_attempt_uses_up_nobody_elses_allowance() {
    let limits = limits(&clock(), 1000);
    for _ in 0..5 {
        limits.fail("ada", ip("192.0.2.1")).unwrap();
    }
    for _ in 0..1000 {
        limits.fail("ada", ip("192.0.2.1")).unwrap_err();
    }
    // 45 of the network's 50 are left.
    for name in 0..45 {
        assert!(limits.fail(&format!("user{name}"), ip("192.0.2.1")).is_ok(), "{name}");
    }
    assert!(limits.fail("one-more", ip("192.0.2.1")).is_err());
    // What the network refused was not charged to the account.
    for _ in 0..5 {
        assert!(limits.fail("one-more", ip("192.0.2.2")).is_ok());
    }
}

#[test]
fn another_address_of_the_same_network_is_no_second_allowance() {
    let limits = limits(&clock(), 1000);
    for host in 1..=5 {
        limits.fail("ada", ip(&format!("2001:db8:1:2::{host}"))).unwrap();
        limits.fail("bob", ip("::ffff:192.0.2.1")).unwrap();
    }
    assert!(limits.fail("ada", ip("2001:db8:1:2:ffff::9")).is_err());
    assert!(limits.fail("ada", ip("2001:db8:1:3::1")).is_ok());
    assert!(limits.fail("bob", ip("192.0.2.1")).is_err());
}

#[test]
fn each_act_has_limits_of_its_own() {
    let clock = clock();
    let mut attempts = attempts(1000);
    attempts.acts.mint.per_account_and_network = quota(2, MINUTE);
    let limits = Limits::new(&attempts, None, &clock);
    let fail = |act| {
        let guess = Guess { act, account: "ada", client: ip("192.0.2.1"), device: None };
        limits.charge(guess).map(drop).is_ok()
    };
    for act in Act::ALL {
        let heard = (0..10).filter(|_| fail(act)).count();
        assert_eq!(heard, if act == Act::Mint { 2 } else { 5 }, "{act:?}");
    }
    let refused = limits.refusals().map(|(.., count)| count).sum::<u64>();
    assert_eq!(refused, 4 * 5 + 8);
}

#[test]
fn strangers_cannot_use_up_what_a_known_browser_has() {
    let limits = limits(&clock(), 10_000);
    let home = ip("192.0.2.1");
    for n in 0..255_u8 {
        for _ in 0..10 {
            let _ = limits.fail("ada", IpAddr::from([203, 0, 113, n]));
            // Nor can those who share the owner's address.
            let _ = limits.fail("ada", home);
            let _ = limits.fail(&format!("other{n}"), home);
        }
    }
    assert!(limits.fail("ada", ip("198.51.100.1")).is_err(), "the account is used up");
    assert!(limits.fail("bob", home).is_err(), "the network is used up");
    for left in (0..5).rev() {
        assert_eq!(limits.fail_on(1, "ada", home), Ok(left));
    }
    assert!(limits.fail_on(1, "ada", home).is_err());
}

#[test]
fn a_stolen_device_is_worth_its_own_allowance_and_many_are_worth_one_accounts() {
    let limits = limits(&clock(), 10_000);
    let nowhere = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
    // The same device from everywhere: five guesses, and then those of any stranger.
    let heard = (0..1000).filter(|n| limits.fail_on(1, "ada", nowhere(*n)).is_ok()).count();
    assert_eq!(heard, 5 + 100);
    // Every device there ever was, for an account whose password was changed since: no more than
    // strangers have. (200 devices of five each would be a thousand guesses.)
    let all = (2..=200_u8).flat_map(|device| [device; 5]);
    let heard = all
        .zip(0..)
        .filter(|(device, n)| limits.fail_on(*device, "ada", nowhere(5000 + n)).is_ok());
    assert_eq!(heard.count(), 100 - 5);
    // To another account it is nothing.
    let account = |name| limits.fail_on(1, name, nowhere(1)).unwrap();
    assert_eq!(account("bob"), 4);
}

#[test]
fn a_flood_of_names_and_addresses_neither_grows_the_table_nor_frees_the_flooder() {
    let limits = limits(&clock(), 1000);
    for _ in 0..5 {
        limits.fail("ada", ip("192.0.2.1")).unwrap();
    }
    for n in 0..20_000_u32 {
        let stranger = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let _ = limits.fail(&format!("name{n}"), stranger);
    }
    assert!(limits.keys() <= 1000, "{}", limits.keys());
    assert!(limits.fail("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_million_names_and_networks_take_no_more_memory_than_was_set() {
    let clock = clock();
    let limits = limits(&clock, 10_000);
    let home = ip("2001:db8::1");
    for _ in 0..5 {
        limits.fail("ada", home).unwrap();
    }
    let mut most = 0;
    // Each attempt has three keys of its own: the name, the network, and the two together.
    for n in 0..340_000_u128 {
        let stranger = IpAddr::from((0x2001_0db9_u128 << 96 | n << 64).to_be_bytes());
        limits.fail(&format!("name{n}"), stranger).unwrap();
        if n % 1000 == 0 {
            most = most.max(limits.keys());
        }
    }
    assert!(most <= 10_000, "{most}");
    assert!(limits.fail("ada", home).is_err(), "the flood has not freed the flooder");
    assert_eq!(limits.fail("bob", ip("192.0.2.1")), Ok(4), "nor does it cost anybody else");
    clock.advance(15 * MINUTE);
    limits.sweep();
    assert_eq!(limits.keys(), 0);
}

#[test]
fn what_is_under_way_in_a_flood_is_settled_even_if_it_was_forgotten() {
    let clock = clock();
    let limits = limits(&clock, 8);
    let flood: Vec<_> = (0..100)
        .map(|n| limits.begin(&format!("name{n}"), IpAddr::from([10, 0, 0, n])).unwrap())
        .collect();
    assert!(limits.keys() <= 8 + 2, "{}", limits.keys());
    drop(flood);
    assert!(limits.keys() <= 8, "{}", limits.keys());
    clock.advance(MINUTE);
    for _ in 0..5 {
        limits.fail("ada", ip("192.0.2.1")).unwrap();
    }
    assert!(limits.fail("ada", ip("192.0.2.1")).is_err());
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out_for_longer() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    for _ in 0..5 {
        limits.fail("ada", ip("192.0.2.1")).unwrap();
    }
    clock.set(clock.now().minus(Duration::from_secs(86_400)));
    assert!(limits.fail("ada", ip("192.0.2.1")).is_err());
    clock.advance(3 * MINUTE);
    assert!(limits.fail("ada", ip("192.0.2.1")).is_ok());
}

#[test]
fn keys_that_are_as_good_as_new_are_swept() {
    let clock = clock();
    let limits = limits(&clock, 1000);
    limits.fail("ada", ip("192.0.2.1")).unwrap();
    assert_eq!(limits.keys(), 3);
    clock.advance(20 * MINUTE);
    limits.sweep();
    assert_eq!(limits.keys(), 0);
}

#[test]
fn after_so_many_failures_account_and_network_are_suspect_until_they_are_forgotten() {
    let clock = clock();
    let limits = Limits::new(&attempts(1000), Some(quota(3, 60 * MINUTE)), &clock);
    let suspect = |name, address| limits.is_suspect(Act::Login, name, ip(address));
    for number in 0..3 {
        assert!(!suspect("ada", "192.0.2.1"), "{number}");
        limits.suspect(Act::Login, "ada", ip("192.0.2.1"));
    }
    assert!(suspect("ada", "198.51.100.1"), "the account, wherever from");
    assert!(suspect("bob", "192.0.2.1"), "the network, whatever the account");
    assert!(!suspect("bob", "198.51.100.1"));
    assert!(!limits.is_suspect(Act::Signup, "ada", ip("192.0.2.1")));
    // However many more, they are forgotten after the same time.
    for _ in 0..100 {
        limits.suspect(Act::Login, "ada", ip("192.0.2.1"));
    }
    clock.advance(20 * MINUTE);
    assert!(!suspect("ada", "192.0.2.1"));
    let none = Limits::new(&attempts(1000), None, &clock);
    none.suspect(Act::Login, "ada", ip("192.0.2.1"));
    assert!(!none.is_suspect(Act::Login, "ada", ip("192.0.2.1")) && none.keys() == 0);
}
