//! What a change makes of an account: the one rule that every backend applies between its read and
//! its write.

use std::collections::BTreeSet;

use super::rows::{User, UserChange};

impl UserChange {
    /// The account after this change; `None` if it holds another password than
    /// `only_if_password` says, and must stay as it is.
    pub(super) fn apply(&self, user: &User) -> Option<User> {
        if self.only_if_password.is_some() && self.only_if_password != user.password {
            return None;
        }
        Some(User {
            roles: alter(&user.roles, &self.grant_roles, &self.revoke_roles),
            permissions: alter(
                &user.permissions,
                &self.grant_permissions,
                &self.revoke_permissions,
            ),
            password: self.password.clone().or_else(|| user.password.clone()),
            disabled: self.disabled.unwrap_or(user.disabled),
            ..user.clone()
        })
    }

    /// Whether those who are signed in must sign in again. A mere rehash ends nothing.
    pub(super) fn ends_sessions(&self) -> bool {
        self.disabled == Some(true) || (self.password.is_some() && !self.rehash)
    }

    /// Whether every token that the user holds says something that is no longer so. Who still has
    /// a session gets a new one with the next refresh.
    pub fn outdates_tokens(&self) -> bool {
        let lists = [
            &self.grant_roles,
            &self.revoke_roles,
            &self.grant_permissions,
            &self.revoke_permissions,
        ];
        self.disabled == Some(true) || lists.iter().any(|list| !list.is_empty())
    }
}

/// Sorted, without doubles. What is both granted and taken is taken.
fn alter(held: &[String], grant: &[String], revoke: &[String]) -> Vec<String> {
    let held: BTreeSet<&String> = held.iter().chain(grant).collect();
    held.into_iter().filter(|name| !revoke.contains(name)).cloned().collect()
}
