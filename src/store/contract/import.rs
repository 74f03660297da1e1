use super::{Place, user};
use crate::secret::PasswordHash;
use crate::store::StoreError;
use crate::store::rows::User;

fn with(name: &str, hash: &str) -> User {
    User { password: Some(PasswordHash::new(hash.to_owned())), ..user(name) }
}

pub(super) async fn accounts_are_taken_over_all_or_none(place: &impl Place) {
    let store = place.open().await;
    let many: Vec<User> = (0..500).map(|number| user(&format!("user{number}"))).collect();
    store.add_users(&many).await.unwrap();
    for user in [&many[0], &many[499]] {
        assert_eq!(store.user(user.id).await.unwrap().as_ref(), Some(user));
    }
    store.add_users(&[]).await.unwrap();
    let taken = User { login: "USER7".to_owned(), ..user("user7") };
    let new = user("new");
    let twice = [user("twice"), user("twice")];
    for batch in [[new.clone(), taken.clone()], [taken, new.clone()], twice] {
        let refused = store.add_users(&batch).await;
        assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    }
    for name in ["new", "twice"] {
        assert_eq!(store.user_by_login(name).await.unwrap(), None, "{name}");
    }
    store.add_users(&[new]).await.unwrap();
}

pub(super) async fn each_kind_of_hash_in_use_is_found(place: &impl Place) {
    let store = place.open().await;
    assert_eq!(store.password_unlike(&[]).await.unwrap(), None);
    let users = [
        with("a", "$argon2id$ours$1"),
        with("b", "$argon2id$ours$2"),
        with("c", "$2y$10$theirs"),
        User { password: None, ..user("d") },
    ];
    store.add_users(&users).await.unwrap();
    let unlike = async |prefixes: &[&str]| {
        let prefixes: Vec<String> = prefixes.iter().map(|&one| one.to_owned()).collect();
        let found = store.password_unlike(&prefixes).await.unwrap();
        found.map(|hash| hash.expose().to_owned())
    };
    assert!(unlike(&[]).await.is_some());
    assert_eq!(unlike(&["$argon2id$ours$"]).await.as_deref(), Some("$2y$10$theirs"));
    assert_eq!(unlike(&["$2y$12$", "$argon2id$ours$"]).await.as_deref(), Some("$2y$10$theirs"));
    assert_eq!(unlike(&["$argon2id$ours$", "$2y$10$"]).await, None);
}
