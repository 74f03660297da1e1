//! What holds whatever strangers do, in whatever order, with any number of attempts under way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What may happen next.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody begins an attempt.
    Begin {
        account: u8,
        address: u8,
        device: Option<u8>,
    },
    /// One that is under way comes to its end.
    End {
        which: prop::sample::Index,
        right: bool,
    },
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begin = (0..3_u8, 0..8_u8, prop::option::weighted(0.3, 0..3_u8));
    let step = prop_oneof![
        5 => begin.prop_map(|(account, address, device)| Step::Begin { account, address, device }),
        5 => (any::<prop::sample::Index>(), prop::bool::weighted(0.4))
            .prop_map(|(which, right)| Step::End { which, right }),
        1 => (1..400_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..300)
}

/// Small quotas, so that all of them are met: pair, network, account, device.
const PAIR: (u64, u64) = (3, 180);
const NETWORK: (u64, u64) = (5, 100);
const ACCOUNT: (u64, u64) = (8, 60);
const DEVICE: (u64, u64) = (2, 200);

fn small(clock: &Clock) -> Limits {
    let of = |(count, interval): (u64, u64)| {
        quota(u32::try_from(count).unwrap(), Duration::from_secs(count * interval))
    };
    let mut attempts = attempts(10_000);
    attempts.acts.login = Quotas {
        per_account_and_network: of(PAIR),
        per_network: of(NETWORK),
        per_account: of(ACCOUNT),
        count_successes: false,
    };
    attempts.per_device = of(DEVICE);
    Limits::new(&attempts, None, clock)
}

/// Guesses that were heard, by what they were heard for.
#[derive(Default)]
struct Heard(BTreeMap<String, Vec<u64>>);

impl Heard {
    fn guess(&mut self, begun: u64, who: &Who) {
        let Who { account, address, device } = *who;
        let keys = match device {
            Some(device) => vec![
                (format!("device {account} {device}"), DEVICE),
                (format!("devices {account}"), ACCOUNT),
            ],
            None => vec![
                (format!("pair {account} {address}"), PAIR),
                (format!("network {address}"), NETWORK),
                (format!("account {account}"), ACCOUNT),
            ],
        };
        for (key, (count, interval)) in keys {
            self.0.entry(format!("{key} {count} {interval}")).or_default().push(begun);
        }
    }

    /// No window, however long, has more guesses than the quota and what was given back in it.
    fn judge(mut self) -> Result<(), TestCaseError> {
        for (key, times) in &mut self.0 {
            let mut numbers = key.rsplit(' ').map(|word| word.parse::<u64>().unwrap_or(0));
            let (interval, count) = (numbers.next().unwrap(), numbers.next().unwrap());
            times.sort_unstable();
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let guesses = u64::try_from(last - first + 1).unwrap();
                    let granted = count + (to - from) / interval;
                    prop_assert!(guesses <= granted, "{key}: {guesses} in {from}..={to}");
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Who {
    account: u8,
    address: u8,
    /// If it was charged to one.
    device: Option<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Successes between the failures, attempts that overlap, many addresses, devices, pauses.
    #[test]
    fn no_interleaving_gives_more_guesses_than_were_configured(steps in steps()) {
        let clock = clock();
        let limits = small(&clock);
        let (mut now, mut under_way, mut heard) = (0, Vec::new(), Heard::default());
        for step in steps {
            match step {
                Step::Wait(secs) => {
                    clock.advance(Duration::from_secs(secs));
                    now += secs;
                }
                Step::Begin { account, address, device } => {
                    let client = IpAddr::from([192, 0, 2, address]);
                    let name = format!("name{account}");
                    let begun = match device {
                        Some(device) => limits.begin_on(device, &name, client),
                        None => limits.begin(&name, client),
                    };
                    if let Ok(charge) = begun {
                        let device = device.filter(|_| charge.by_device());
                        under_way.push((now, Who { account, address, device }, charge));
                    }
                }
                Step::End { .. } if under_way.is_empty() => {}
                Step::End { which, right } => {
                    let (begun, who, charge) = under_way.swap_remove(which.index(under_way.len()));
                    if right {
                        charge.succeeded();
                    } else {
                        drop(charge);
                        heard.guess(begun, &who);
                    }
                }
            }
        }
        for (begun, who, _) in under_way {
            heard.guess(begun, &who);
        }
        heard.judge()?;
    }

    /// Only guesses are charged: whoever has made none, and none under way, is heard.
    #[test]
    fn successes_alone_are_never_refused_one_after_the_other(
        attempts in prop::collection::vec((0..3_u8, 0..3_u8, 0..100_u64), 1..200),
    ) {
        let clock = clock();
        let limits = small(&clock);
        for (account, address, secs) in attempts {
            let client = IpAddr::from([192, 0, 2, address]);
            let begun = limits.begin(&format!("name{account}"), client);
            clock.advance(Duration::from_secs(secs));
            prop_assert!(begun.is_ok());
            begun.unwrap().succeeded();
        }
        prop_assert_eq!(limits.keys(), 0);
    }

    /// Whatever strangers do to the account, from the owner's own network too.
    #[test]
    fn an_owner_with_a_known_browser_is_never_locked_out_by_strangers(
        steps in steps(),
        home in 0..8_u8,
        mistakes in 0..2_u8,
    ) {
        let clock = clock();
        let limits = small(&clock);
        let mut under_way = Vec::new();
        for step in steps {
            match step {
                Step::Wait(secs) => clock.advance(Duration::from_secs(secs)),
                // Strangers have devices of their own, for their own accounts.
                Step::Begin { account, address, device } => {
                    let client = IpAddr::from([192, 0, 2, address]);
                    under_way.extend(match device {
                        Some(device) => limits.begin_on(device, &format!("own{account}"), client),
                        None => limits.begin("ada", client),
                    });
                }
                Step::End { .. } if under_way.is_empty() => {}
                Step::End { which, right } => {
                    let charge = under_way.swap_remove(which.index(under_way.len()));
                    if right { charge.succeeded() } else { drop(charge) }
                }
            }
        }
        let client = IpAddr::from([192, 0, 2, home]);
        for _ in 0..mistakes {
            prop_assert!(limits.fail_on(200, "ada", client).is_ok());
        }
        let own = limits.begin_on(200, "ada", client);
        prop_assert!(own.is_ok_and(|charge| charge.by_device()));
    }

    /// Whatever is done, the table keeps to its bound, and what is used up stays so in a flood.
    #[test]
    fn a_table_of_any_size_keeps_to_it(most in 20..100_usize, flood in 0..300_u32) {
        let clock = clock();
        let limits = limits(&clock, most);
        for _ in 0..5 {
            let _ = limits.fail("ada", ip("192.0.2.1"));
        }
        for n in 0..flood {
            let stranger = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            let _ = limits.fail(&format!("name{n}"), stranger);
            prop_assert!(limits.keys() <= most);
        }
        prop_assert!(limits.fail("ada", ip("192.0.2.1")).is_err());
    }
}
