//! What the engines do in a second with the statements of an act, and nothing of ours around them: the
//! physical limit that stands beside the store's own rates.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use argon2::Argon2;
use sallyport::clock::Stopwatch;
use sallyport::id::TokenId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::place::DEVICE;

/// Acts that share a commit, as many as the store lets share one.
const BATCH: usize = 128;

/// Acts a second, of what.
pub(crate) type Rate = (String, f64);

/// Hashes a second on one thread, with the parameters that passwords have by default.
pub(crate) fn hashing(time: Duration) -> Rate {
    let params = argon2::Params::new(19 * 1024, 2, 1, None).unwrap();
    let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let (since, mut count) = (Stopwatch::start(), 0.0);
    while since.elapsed() < time {
        let mut hash = [0; 32];
        hasher.hash_password_into(b"a password", b"0123456789abcdef", &mut hash).unwrap();
        count += 1.0;
    }
    ("bare Argon2id, one thread: what each login takes besides".to_owned(), count / secs(&since))
}

/// The statements of each act by one connection and nobody else, on the file that the store has used.
pub(crate) async fn sqlite(path: &Path, time: Duration) -> Vec<Rate> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // As ours has it: what is deleted is overwritten, and what belongs together stays so.
        .pragma("secure_delete", "ON")
        .foreign_keys(true)
        .disable_statement_logging();
    let mut connection = options.connect().await.unwrap();
    let anew = "UPDATE sessions SET generation = 1, ended_at = NULL, end_reason = NULL";
    sqlx::query(anew).execute(&mut connection).await.unwrap();
    let ids: Vec<Vec<u8>> = sqlx::query_scalar("SELECT id FROM sessions LIMIT 10000")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut turns = vec![1_i64; ids.len()];
    let logins = batches(&mut connection, time, async |one, number| log_in(one, number).await);
    let logins = logins.await;
    let rotations = batches(&mut connection, time, async |one, number| {
        let number = number % ids.len();
        rotate(one, &ids[number], turns[number]).await;
        turns[number] += 1;
    });
    let rotations = rotations.await;
    let mints = batches(&mut connection, time, async |one, number| mint(one, number).await).await;
    let name = |act| format!("SQLite, bare: the statements of a {act}, {BATCH} in a commit");
    vec![(name("login"), logins), (name("rotation"), rotations), (name("mint"), mints)]
}

async fn batches(
    connection: &mut SqliteConnection,
    time: Duration,
    mut act: impl AsyncFnMut(&mut SqliteConnection, usize),
) -> f64 {
    let (since, mut count, mut done) = (Stopwatch::start(), 0, 0.0);
    while since.elapsed() < time {
        let mut batch = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for _ in 0..BATCH {
            act(&mut batch, count).await;
            (count, done) = (count + 1, done + 1.0);
        }
        batch.commit().await.unwrap();
    }
    done / secs(&since)
}

async fn log_in(connection: &mut SqliteConnection, number: usize) {
    let user = sqlx::query("SELECT * FROM users WHERE login_key = $1")
        .bind(format!("user-{}", number % 1000))
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let sql = "INSERT INTO sessions (id, user_id, generation, seen_generation, refresh_key, \
               refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, amr, \
               expires_at, idle_expires_at, persistent, address, device, created_at, ended_at, \
               end_reason) SELECT $1, id, 1, 0, '0123456789abcdef', $1, 1, 2, 3, 4, '[\"pwd\"]', 5, \
               6, 1, NULL, $3, 7, NULL, NULL FROM users WHERE id = $2 AND NOT disabled";
    let id = TokenId::generate().unwrap();
    sqlx::query(sql)
        .bind(id.as_bytes().as_slice())
        .bind(user.get::<Vec<u8>, _>("id"))
        .bind(DEVICE)
        .execute(connection)
        .await
        .unwrap();
}

async fn rotate(connection: &mut SqliteConnection, id: &[u8], generation: i64) {
    let sql = "UPDATE sessions SET generation = $3, seen_generation = $2, refresh_key = $4, \
               refresh_token = $5, refresh_issued_at = $6, refresh_expires_at = $7, \
               rotated_at = $8, idle_expires_at = $9 \
               WHERE id = $1 AND generation = $2 AND ended_at IS NULL";
    sqlx::query(sql)
        .bind(id)
        .bind(generation)
        .bind(generation + 1)
        .bind("0123456789abcdef")
        .bind(id)
        .bind(1_i64)
        .bind(2_i64)
        .bind(3_i64)
        .bind(4_i64)
        .execute(connection)
        .await
        .unwrap();
}

async fn mint(connection: &mut SqliteConnection, number: usize) {
    let subject = format!("bare-{}", number % 10_000);
    // Sixteen bytes that are the same for the same user.
    let user = format!("{:016}", number % 10_000);
    let id = TokenId::generate().unwrap();
    let sql = "SELECT id, name, secrets, roles, permissions, disabled, created_at FROM apps \
               WHERE id = 'app'";
    sqlx::query(sql).fetch_one(&mut *connection).await.unwrap();
    let sql = "INSERT INTO minted_tokens (id, app, user_id, expires_at) \
               VALUES ($1, 'app', $2, 5000000000000)";
    let noted = sqlx::query(sql).bind(id.as_bytes().as_slice()).bind(user.as_bytes());
    noted.execute(&mut *connection).await.unwrap();
    let sql = "INSERT INTO users (id, login, login_key, roles, permissions, disabled, created_at) \
               VALUES ($1, $2, $2, '[]', '[]', 0, 1) ON CONFLICT DO NOTHING";
    let known = sqlx::query(sql).bind(user.as_bytes()).bind(&subject);
    known.execute(&mut *connection).await.unwrap();
    let sql = "INSERT INTO identities (provider, subject, user_id) VALUES ('app:app', $1, $2) \
               ON CONFLICT DO NOTHING";
    let named = sqlx::query(sql).bind(&subject).bind(user.as_bytes());
    named.execute(connection).await.unwrap();
}

/// The statements of each act as `pgbench` sends them, on so many connections.
pub(crate) fn postgres(url: &str, connections: usize, time: Duration) -> Vec<Rate> {
    let run =
        |program: &str, arguments: &[&str]| Command::new(program).args(arguments).output().unwrap();
    let made = run("psql", &["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", NUMBERED]);
    assert!(made.status.success(), "psql: {}", String::from_utf8_lossy(&made.stderr));
    let program = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let program = program.map(|one| one.path().join("bin/pgbench")).max();
    let program = program.map_or("pgbench".to_owned(), |path| path.display().to_string());
    // A colon would be a variable to it, in a text too.
    let login = format!("{LOGIN}{}{LOGIN_REST}", DEVICE.replace(':', "="));
    let acts = [("login", &*login), ("rotation", ROTATION), ("mint", MINT)];
    let rates = acts.map(|(act, text)| {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), text).unwrap();
        let script = script.path().display().to_string();
        let (clients, seconds) = (connections.to_string(), time.as_secs().to_string());
        let arguments =
            ["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds, "-f", &script, url];
        let output = run(&program, &arguments);
        let faults = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench: {faults}");
        let told = String::from_utf8_lossy(&output.stdout);
        let rate = told.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
        let rate = rate.unwrap().parse().unwrap();
        (format!("pgbench, {connections} connections: the statements of a {act}"), rate)
    });
    rates.into()
}

fn secs(since: &Stopwatch) -> f64 {
    since.elapsed().as_secs_f64()
}

/// As many sessions again, which the script can name by number.
const NUMBERED: &str = "INSERT INTO sessions SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), user_id, \
    1, 0, refresh_key, refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, \
    amr, expires_at, idle_expires_at, persistent, address, device, created_at, NULL, NULL \
    FROM (SELECT row_number() OVER () AS n, * FROM sessions LIMIT 10000) AS numbered; ANALYZE";

const ROTATION: &str = "\\set n random(1, 10000)\n\
    SELECT sessions.id AS sid, user_id, generation AS gen, seen_generation, refresh_key, \
    refresh_token, refresh_issued_at, refresh_expires_at, rotated_at, auth_time, amr, expires_at, \
    idle_expires_at, persistent, address, device, sessions.created_at AS begun, ended_at, end_reason, \
    login, login_key, name, email, roles, permissions, password, disabled, users.created_at \
    FROM sessions JOIN users ON users.id = sessions.user_id \
    WHERE sessions.id = decode(lpad(to_hex(:n::bigint), 32, '0'), 'hex') \\gset\n\
    UPDATE sessions SET generation = :gen + 1, seen_generation = greatest(seen_generation, :gen), \
    refresh_key = '0123456789abcdef', refresh_token = id, refresh_issued_at = 1, \
    refresh_expires_at = 2, rotated_at = 3, idle_expires_at = 4 \
    WHERE id = :sid AND generation = :gen AND ended_at IS NULL;\n";

/// Three limits are charged, the user is looked up, the session is added ...
const LOGIN: &str = "\\set n random(0, 999)\n\
    \\set k random(1, 2000000000)\n\
    WITH asked AS (SELECT key, interval, burst, number FROM \
    unnest(ARRAY[decode(md5('a' || :k), 'hex'), decode(md5('b' || :k), 'hex'), \
    decode(md5('c' || :k), 'hex')], ARRAY[18000000, 18000000, 18000000]::bigint[], \
    ARRAY[900000000, 900000000, 900000000]::bigint[]) \
    WITH ORDINALITY AS asked (key, interval, burst, number)), \
    held AS (SELECT attempts.key, attempts.arrival FROM attempts \
    WHERE key IN (SELECT key FROM asked) ORDER BY key FOR UPDATE), \
    verdict AS (SELECT bool_and(greatest(coalesce(held.arrival, 0), 1900000000000000) \
    + asked.interval <= 1900000000000000 + asked.burst) AS fits \
    FROM asked LEFT JOIN held USING (key)), \
    charged AS (INSERT INTO attempts (key, arrival) \
    SELECT asked.key, 1900000000000000 + asked.interval FROM asked, verdict \
    WHERE verdict.fits ORDER BY asked.key ON CONFLICT (key) DO UPDATE \
    SET arrival = greatest(attempts.arrival, 1900000000000000) + excluded.arrival - 1900000000000000 \
    WHERE greatest(attempts.arrival, 1900000000000000) + excluded.arrival - 1900000000000000 \
    <= 1900000000000000 + (SELECT burst FROM asked WHERE asked.key = attempts.key LIMIT 1) \
    RETURNING key, arrival) \
    SELECT held.arrival AS was, charged.arrival AS is FROM asked LEFT JOIN held USING (key) \
    LEFT JOIN charged USING (key) ORDER BY asked.number;\n\
    SELECT id AS uid, login, login_key, name, email, roles, permissions, password, disabled, \
    created_at FROM users WHERE login_key = 'user-' || :n \\gset\n\
    INSERT INTO sessions (id, user_id, generation, seen_generation, refresh_key, refresh_token, \
    refresh_issued_at, refresh_expires_at, rotated_at, auth_time, amr, expires_at, idle_expires_at, \
    persistent, address, device, created_at, ended_at, end_reason) \
    SELECT uuid_send(gen_random_uuid()), id, 1, 0, '0123456789abcdef', uuid_send(gen_random_uuid()), \
    1, 2, 3, 4, '[\"pwd\"]', 5, 6, TRUE, NULL, '";

/// ... and the charge is given back.
const LOGIN_REST: &str = "', 7, NULL, NULL FROM users WHERE id = :uid AND NOT disabled FOR SHARE;\n\
    WITH asked AS (SELECT key, interval FROM unnest(ARRAY[decode(md5('a' || :k), 'hex'), \
    decode(md5('b' || :k), 'hex'), decode(md5('c' || :k), 'hex')], \
    ARRAY[18000000, 18000000, 18000000]::bigint[]) AS asked (key, interval)), \
    held AS (SELECT attempts.key FROM attempts \
    WHERE key IN (SELECT key FROM asked) ORDER BY key FOR UPDATE) \
    UPDATE attempts SET arrival = arrival - asked.interval \
    FROM asked, held WHERE attempts.key = asked.key AND held.key = asked.key;\n";

const MINT: &str = "\\set n random(1, 10000)\n\
    WITH app AS MATERIALIZED (SELECT id, name, secrets, roles, permissions, disabled, created_at \
    FROM apps WHERE id = 'app' AND NOT disabled FOR SHARE), \
    known AS (INSERT INTO users (id, login, login_key, roles, permissions, disabled, created_at) \
    SELECT decode(lpad(to_hex(:n::bigint), 32, 'f'), 'hex'), 'bare-' || :n, 'bare-' || :n, \
    '[]', '[]', FALSE, 1 FROM app ON CONFLICT DO NOTHING), \
    named AS (INSERT INTO identities (provider, subject, user_id) \
    SELECT 'app=app', 'bare-' || :n, decode(lpad(to_hex(:n::bigint), 32, 'f'), 'hex') FROM app \
    ON CONFLICT DO NOTHING), \
    noted AS (INSERT INTO minted_tokens (id, app, user_id, expires_at) \
    SELECT uuid_send(gen_random_uuid()), id, decode(lpad(to_hex(:n::bigint), 32, 'f'), 'hex'), \
    5000000000000 FROM app) \
    SELECT id, name, secrets, roles, permissions, disabled, created_at FROM app;\n";
