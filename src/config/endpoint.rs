//! The list of our own endpoints: what each is called in the config, where it is unless the config
//! says otherwise, which fields it reads and which values its answer has. A new endpoint is a variant
//! and its row; moving, renaming and reshaping then work for it without further code.

use http::Method;

/// One of our own endpoints: a path and a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET <base>/login`: the page.
    LoginPage,
    /// `POST <base>/login`
    Login,
    /// `POST <base>/refresh`
    Refresh,
    /// `GET <base>/logout`: asks whether it is meant.
    LogoutPage,
    /// `POST <base>/logout`
    Logout,
    /// `GET <base>/me`
    Me,
    /// `GET <base>/signup`: the page for a new account.
    SignupPage,
    /// `POST <base>/signup`
    Signup,
    /// `GET <base>/setup`: the page that a setup link leads to.
    SetupPage,
    /// `POST <base>/setup`: the first account.
    Setup,
    /// `GET <base>/invite`: the page that an invitation leads to.
    InvitePage,
    /// `POST <base>/invite`
    Invite,
    /// `GET <base>/reset`: the page that a reset link leads to.
    ResetPage,
    /// `POST <base>/reset`
    Reset,
    /// `GET <base>/password`: the page for a new password.
    PasswordPage,
    /// `POST <base>/password`
    Password,
    /// `GET <base>/account`: the page with one's sessions.
    AccountPage,
    /// `GET <base>/sessions`: one's sessions.
    Sessions,
    /// `POST <base>/sessions/end`: one of them.
    EndSession,
    /// `POST <base>/sessions/end-others`: all but this one.
    EndOthers,
    /// `POST <base>/token`: an app mints a token for a user of its.
    Mint,
    /// `POST <base>/token/revoke`: an app takes one back.
    RevokeMinted,
    /// `GET /.well-known/jwks.json`
    Keys,
    /// `GET <base>/assets/NAME`: what the pages are dressed with.
    Asset,
}

/// What is known of an endpoint before any config is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name in the config.
    pub name: &'static str,
    /// Its method; `GET` serves `HEAD` too.
    pub method: Method,
    /// Where it is by default.
    pub place: Place,
    /// The fields of its body, by our names.
    pub fields: &'static [&'static str],
    /// The values of its answer, by our names; a dot leads into a value that is an object. What
    /// ends in `_at` is a time in Unix seconds. Of answers with new tokens, [`TOKENS`] go without
    /// saying.
    pub values: &'static [&'static str],
    /// Whether its answer brings new tokens.
    pub gives_tokens: bool,
}

/// Where an endpoint is by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This path below `login.base`.
    Below(&'static str),
    /// All that begins with this path below `login.base`.
    Under(&'static str),
    /// This path.
    At(&'static str),
}

/// The values of every answer that brings new tokens.
pub const TOKENS: [&str; 4] =
    ["access_token", "access_expires_at", "refresh_token", "refresh_expires_at"];

/// The values of an answer that tells a user of their own account.
const WHO: &[&str] = &[
    "message",
    "user",
    "user.id",
    "user.login",
    "user.name",
    "user.roles",
    "user.permissions",
    "expires_at",
];

/// What the captcha's widget gave; a field only where a captcha is asked for.
pub const CAPTCHA: &str = "captcha";

/// The fields of a new account's name and secret.
const SIGNUP: &[&str] = &["username", "password", "password_confirmation", "return_to", CAPTCHA];
/// The same with a one-time link.
const INVITED: &[&str] = &["username", "password", "password_confirmation", "token"];

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::LoginPage,
        Self::Login,
        Self::Refresh,
        Self::LogoutPage,
        Self::Logout,
        Self::Me,
        Self::SignupPage,
        Self::Signup,
        Self::SetupPage,
        Self::Setup,
        Self::InvitePage,
        Self::Invite,
        Self::ResetPage,
        Self::Reset,
        Self::PasswordPage,
        Self::Password,
        Self::AccountPage,
        Self::Sessions,
        Self::EndSession,
        Self::EndOthers,
        Self::Mint,
        Self::RevokeMinted,
        Self::Keys,
        Self::Asset,
    ];

    /// What is known of it.
    #[expect(clippy::too_many_lines, reason = "a table: one row for each endpoint")]
    pub fn row(self) -> Row {
        match self {
            Self::LoginPage => Row::page("login_page", "/login"),
            Self::Login => Row {
                fields: &[
                    "username",
                    "password",
                    "remember",
                    "return_to",
                    "pending",
                    CAPTCHA,
                    "kept",
                ],
                values: WHO,
                gives_tokens: true,
                ..Row::post("login", "/login")
            },
            Self::Refresh => Row {
                fields: &["refresh_token"],
                values: &["message", "expires_at"],
                gives_tokens: true,
                ..Row::post("refresh", "/refresh")
            },
            Self::LogoutPage => Row::page("logout_page", "/logout"),
            Self::Logout => Row {
                fields: &["refresh_token", "return_to"],
                values: &["message"],
                ..Row::post("logout", "/logout")
            },
            Self::Me => Row {
                values: &[
                    "id",
                    "login",
                    "name",
                    "email",
                    "roles",
                    "permissions",
                    "app",
                    "session",
                    "auth_time",
                    "expires_at",
                ],
                ..Row::page("me", "/me")
            },
            Self::SignupPage => Row::page("signup_page", "/signup"),
            Self::Signup => Row { fields: SIGNUP, ..Row::welcome("signup", "/signup") },
            Self::SetupPage => Row::page("setup_page", "/setup"),
            Self::Setup => Row { fields: INVITED, ..Row::welcome("setup", "/setup") },
            Self::InvitePage => Row::page("invite_page", "/invite"),
            Self::Invite => Row { fields: INVITED, ..Row::welcome("invite", "/invite") },
            Self::ResetPage => Row::page("reset_page", "/reset"),
            Self::Reset => Row {
                fields: &["token", "new_password", "password_confirmation"],
                values: &["message"],
                ..Row::post("reset", "/reset")
            },
            Self::PasswordPage => Row::page("password_page", "/password"),
            Self::Password => Row {
                fields: &["current_password", "new_password", "password_confirmation"],
                values: &["message"],
                ..Row::post("password", "/password")
            },
            Self::AccountPage => Row::page("account_page", "/account"),
            Self::Sessions => Row { values: &["sessions"], ..Row::page("sessions", "/sessions") },
            Self::EndSession => Row {
                fields: &["session"],
                values: &["ended"],
                ..Row::post("end_session", "/sessions/end")
            },
            Self::EndOthers => Row {
                values: &["ended"],
                ..Row::post("end_other_sessions", "/sessions/end-others")
            },
            Self::Mint => Row {
                fields: &["app_id", "app_secret", "user_id", "roles", "permissions", "ttl"],
                values: &[
                    "token",
                    "token_type",
                    "expires_at",
                    "jti",
                    "user_id",
                    "roles",
                    "permissions",
                ],
                ..Row::post("mint", "/token")
            },
            Self::RevokeMinted => Row {
                fields: &["app_id", "app_secret", "token", "jti"],
                values: &["message"],
                ..Row::post("revoke_minted", "/token/revoke")
            },
            Self::Keys => {
                Row { place: Place::At("/.well-known/jwks.json"), ..Row::page("keys", "") }
            }
            Self::Asset => Row { place: Place::Under("/assets/"), ..Row::page("assets", "") },
        }
    }

    /// Its method, unless the config says otherwise.
    pub fn method(self) -> Method {
        self.row().method
    }

    /// Its place in [`Endpoint::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl Row {
    fn page(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            method: Method::GET,
            place: Place::Below(path),
            fields: &[],
            values: &[],
            gives_tokens: false,
        }
    }

    fn welcome(name: &'static str, path: &'static str) -> Self {
        Self { values: WHO, gives_tokens: true, ..Self::post(name, path) }
    }

    fn post(name: &'static str, path: &'static str) -> Self {
        Self { method: Method::POST, ..Self::page(name, path) }
    }

    /// Whether an answer of this endpoint may name `value`: one of its own, or a form of a time.
    pub fn has_value(&self, value: &str) -> bool {
        let known = |name: &str| {
            self.values.contains(&name) || (self.gives_tokens && TOKENS.contains(&name))
        };
        let time = super::template::plain_time(value);
        known(value) || time.is_some_and(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_its_place_and_a_name_of_its_own() {
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint.index(), index, "{endpoint:?}");
            let name = endpoint.row().name;
            let same = Endpoint::ALL.into_iter().filter(|other| other.row().name == name);
            assert_eq!(same.count(), 1, "{name}");
        }
    }
}
