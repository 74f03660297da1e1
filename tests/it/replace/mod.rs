//! Other systems' clients, word for word: the shipped configurations that replace a login, with curl
//! itself, and one that nobody has shipped.

mod exchange;
mod fifth;
mod inspir;
mod pin;
mod questkit;
mod shipped;
mod turnstile;

use shipped::Shipped;
