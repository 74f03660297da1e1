//! What every backend must keep, said once and run on each. A promise that no backend runs is
//! dead code, which the compiler reports.

mod accounts;
mod apps;
mod attempts;
mod audit;
mod durability;
mod import;
mod keys;
mod links;
mod postgres;
mod races;
mod sessions;
mod sqlite;

pub(super) use postgres::Schema;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::rows::{RefreshRecord, Session, User};
use super::seal::Seal;
use super::{Advance, Step, Store};
use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TokenId, UserId};
use crate::secret::PasswordHash;

/// Where a store is kept, apart from the handles on it.
pub(super) trait Place: Sized {
    /// An empty one.
    async fn fresh() -> Self;
    /// One more handle on it, as another process would have.
    async fn open(&self) -> Arc<dyn Store> {
        self.open_with(Seal::none()).await
    }
    /// The same with keys that are sealed.
    async fn open_with(&self, seal: Seal) -> Arc<dyn Store>;
    /// Keeps every handle from writing until the answer is dropped.
    async fn lock(&self) -> Box<dyn Any>;
}

macro_rules! promises {
    ($place:ty: $($part:ident::{$($promise:ident),* $(,)?}),* $(,)?) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            super::$part::$promise(&<$place as super::Place>::fresh().await).await;
        }
    )*)*};
}

macro_rules! every_promise {
    ($place:ty) => {
        promises!($place:
            accounts::{
                a_user_is_read_back_as_it_was_written,
                a_name_is_taken_once,
                users_come_in_pages_in_the_order_of_their_keys,
                roles_and_permissions_are_granted_and_taken,
                a_new_password_ends_all_sessions_but_the_kept_one,
                a_rehash_ends_no_session_and_undoes_no_change,
                disabling_ends_every_session_and_refuses_the_user_as_of_now,
                a_removed_user_leaves_no_session_and_is_refused,
                an_unknown_user_cannot_be_changed,
            },
            sessions::{
                a_session_is_read_back_as_it_was_written,
                a_session_needs_a_user_who_may_log_in,
                an_advance_moves_only_from_the_expected_generation,
                an_ended_session_neither_advances_nor_idles_on,
                sights_rise_and_never_fall,
                a_session_ends_once,
                all_sessions_of_one_user_end_but_the_kept_one,
                live_sessions_are_listed_newest_first,
                a_single_token_is_revoked_until_it_expires,
                a_sweep_removes_what_is_over_and_nothing_else,
                a_sweep_goes_in_small_batches,
                a_sweep_of_many_sessions_comes_to_its_end_and_starts_anew,
            },
            keys::{
                a_key_is_added_only_behind_the_newest,
                the_newest_key_is_never_dropped,
                sealed_keys_are_read_by_who_has_the_seal_and_by_nobody_else,
                resealing_brings_every_key_under_the_present_seal,
            },
            attempts::{
                no_more_attempts_are_taken_than_the_limit_has,
                an_attempt_is_charged_to_all_of_its_limits_or_to_none,
                attempts_come_back_evenly_and_by_refund,
                of_many_attempts_at_once_as_many_are_taken_as_one_by_one,
                a_sweep_forgets_only_limits_that_are_as_good_as_new,
            },
            links::{
                a_link_is_read_back_until_its_end_and_by_its_hash_alone,
                an_invitation_makes_one_account,
                a_setup_makes_the_first_account_and_spends_all_its_like,
                a_reset_sets_the_password_ends_all_sessions_and_spends_its_like,
                a_new_password_a_ban_and_a_removal_spend_the_reset_links,
                links_that_are_over_are_swept,
                open_links_are_listed_and_can_be_withdrawn,
                of_many_setups_at_once_exactly_one_makes_an_account,
                of_many_uses_of_one_link_exactly_one_is_done,
            },
            import::{
                accounts_are_taken_over_all_or_none,
                each_kind_of_hash_in_use_is_found,
            },
            audit::{
                an_event_is_read_back_as_it_was_written,
                the_store_fills_in_whose_session_it_was,
                events_are_found_by_time_account_and_kind,
                old_events_are_swept_and_a_flood_goes_before_the_rest,
            },
            apps::{
                an_app_is_read_back_as_it_was_written,
                secrets_are_rolled_one_by_one_and_bounded,
                taking_rights_from_an_app_refuses_what_it_minted,
                minting_notes_the_token_and_makes_its_user_once,
                minting_tells_what_the_app_is_at_that_moment,
                the_users_of_apps_are_no_accounts,
                a_disabled_or_removed_app_mints_nothing,
                ended_tokens_and_the_users_of_removed_apps_are_swept,
                of_many_that_mint_for_one_new_user_all_succeed,
            },
            races::{
                of_fifty_rotations_of_one_generation_exactly_one_is_done,
                no_session_survives_the_disabling_it_raced,
                no_session_survives_the_removal_it_raced,
                of_twenty_signups_with_one_name_exactly_one_is_done,
                of_many_keys_added_at_once_exactly_one_is,
                a_session_is_ended_by_exactly_one_of_many,
            },
            durability::{
                what_was_acknowledged_outlives_the_handle,
                another_process_hears_of_a_revocation_within_half_a_second,
                an_own_revocation_wakes_at_once,
                a_wait_without_a_change_ends_in_time,
                a_locked_store_is_unavailable_in_bounded_time,
                starting_many_times_at_once_makes_one_schema,
            },
        );
    };
}

mod sqlite_contract {
    every_promise!(super::sqlite::File);
}

mod postgres_contract {
    every_promise!(super::postgres::Schema);
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn later(minutes: u32) -> Timestamp {
    NOW.plus(MINUTE * minutes)
}

fn user(name: &str) -> User {
    User {
        id: UserId::generate(NOW).unwrap(),
        login: name.to_owned(),
        login_key: name.to_lowercase(),
        name: None,
        email: None,
        roles: Vec::new(),
        permissions: Vec::new(),
        password: Some(PasswordHash::new("$argon2id$first".to_owned())),
        disabled: false,
        created_at: NOW,
    }
}

fn refresh_record() -> RefreshRecord {
    RefreshRecord {
        key: KeyId::generate().unwrap(),
        token: TokenId::generate().unwrap(),
        issued_at: NOW,
        expires_at: later(60),
    }
}

fn session(user: &User) -> Session {
    Session {
        id: SessionId::generate().unwrap(),
        user: user.id,
        generation: 1,
        seen_generation: 0,
        current: refresh_record(),
        rotated_at: NOW,
        auth_time: NOW,
        amr: vec!["pwd".to_owned()],
        expires_at: later(60),
        idle_expires_at: later(10),
        persistent: false,
        address: None,
        device: String::new(),
        created_at: NOW,
        ended: None,
    }
}

fn step(from: u64) -> Step {
    Step { from, to: from + 1, next: refresh_record(), at: later(1), idle_expires_at: later(11) }
}

/// A store with one user, who has logged in `devices` times.
pub(super) async fn signed_in(
    store: &dyn Store,
    name: &str,
    devices: usize,
) -> (User, Vec<Session>) {
    let user = user(name);
    store.add_user(&user).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..devices {
        let session = session(&user);
        store.begin_session(&session).await.unwrap();
        sessions.push(session);
    }
    (user, sessions)
}

async fn read(store: &dyn Store, id: SessionId) -> Session {
    store.session(id).await.unwrap().expect("the session was begun").0
}

async fn is_live(store: &dyn Store, id: SessionId) -> bool {
    store.session(id).await.unwrap().is_some_and(|(session, _)| session.ended.is_none())
}
