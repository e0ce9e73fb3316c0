//! Timestamps: what clocks of others say of this log's checkpoints (RFC 3161).
//!
//! In: the newest checkpoint, once after each renewal and once after the close. Out: tokens beside
//! it, for exports. They bound from above the times that entries claim; they show nothing else.
//!
//! A token is kept once it holds by the verifier's own code: over this checkpoint, with the nonce of
//! this question, signed by a certificate that leads to the root in the settings. That says that it is
//! worth keeping; whether it counts is for the auditor's trust file. Its time is not compared with our
//! own: a token that contradicts the machine's clock is what an auditor wants to see.
//!
//! An extra: no call waits for it, none fails without it, nothing is held. Whoever cuts the wire to an
//! authority could otherwise stop the gateway, and gains nothing as it is but that the verdict says so.
//! One that fails is asked again at the next renewal, and an `event` counts what was not done.
//! Decision 0019 says what is believed of whom; `docs/spec/timestamp.md` is the form.

use crate::boot::tracing_line;
use crate::keys::random;
use crate::plain_http::{Message, NoAnswer, PlainHttp};
use crate::serve::Gateway;
use countersign_journal::Stamp;
use countersign_policies::site::settings::AuthoritySettings;
use countersign_record::checkpoint::Checkpoint;
use countersign_timestamps::exchange::{
    MAX_REPLY_BYTES, Nonce, QUERY_TYPE, ReplyError, request, token_of,
};
use countersign_timestamps::{Imprint, TimestampError, Token};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long an authority may take for an answer. Nobody waits for it but the end of a gateway that was told to stop.
const WAIT: Duration = Duration::from_secs(5);

/// Why a checkpoint has no token of an authority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// No answer.
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    /// Another status than 200.
    #[error("refuses with status {0}")]
    Status(u16),
    /// An answer without a token for this question.
    #[error("gives an answer that is none: {0}")]
    Reply(#[from] ReplyError),
    /// A token that does not hold under the root in the settings.
    #[error("gives a token that does not hold: {0}")]
    Token(#[from] TimestampError),
    /// The system has no random numbers.
    #[error("cannot be asked without a random number")]
    NoNonce,
    /// The store fails.
    #[error("has answered, and its token cannot be kept")]
    NotKept,
}

/// A token that holds.
#[derive(Debug)]
struct Held {
    token: Vec<u8>,
    /// Its latest time, in milliseconds since 1970.
    before: u64,
}

/// An authority, and how it is reached.
struct Authority {
    settings: AuthoritySettings,
    wire: PlainHttp,
}

impl Authority {
    fn new(settings: AuthoritySettings) -> Self {
        let wire = PlainHttp::new(&settings.address, WAIT);
        Self { settings, wire }
    }

    /// Asks for a token over `imprint`, and verifies it.
    async fn ask(&self, imprint: &Imprint) -> Result<Held, Trouble> {
        let nonce = Nonce(*random::<16>().map_err(|_| Trouble::NoNonce)?);
        let message = Message {
            path: &self.settings.address.path,
            media_type: QUERY_TYPE,
            body: request(imprint, &nonce),
            limit: MAX_REPLY_BYTES,
        };
        let (status, body) = self.wire.post(message).await?;
        if status != 200 {
            return Err(Trouble::Status(status));
        }
        let token = token_of(&body, imprint, &nonce)?;
        let root = std::slice::from_ref(&self.settings.root);
        let before = Token::parse(&token)?.verify(*imprint, root)?.latest_ms();
        Ok(Held { token, before })
    }
}

/// What is known of an authority.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Size that it stamped last in this epoch, and its latest time there, in milliseconds since 1970.
    stamped: Option<(u64, u64)>,
    /// Failures in this epoch.
    failures: u64,
    /// Why the last question brought nothing.
    trouble: Option<Trouble>,
}

/// The authorities of a running gateway.
pub struct Timestamps {
    authorities: Vec<Arc<Authority>>,
    known: Mutex<Vec<Known>>,
    due: Notify,
    /// What was not done since it was last written into the log.
    failures: AtomicU64,
}

impl Timestamps {
    /// Before the first renewal of an epoch.
    #[must_use]
    pub fn new(settings: Vec<AuthoritySettings>) -> Self {
        Self {
            known: Mutex::new(vec![Known::default(); settings.len()]),
            authorities: settings
                .into_iter()
                .map(|s| Arc::new(Authority::new(s)))
                .collect(),
            due: Notify::new(),
            failures: AtomicU64::new(0),
        }
    }

    /// The platform has vouched anew: the newest checkpoint is worth showing.
    pub fn renewed(&self) {
        // One that comes while authorities are still asked counts afterwards, once.
        self.due.notify_one();
    }

    /// How often something was not done since this was last asked.
    pub fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// Failures that could not be written down after all.
    pub fn put_back_failures(&self, count: u64) {
        self.failures.fetch_add(count, Ordering::Relaxed);
    }

    /// What is known of each, for whoever looks after the gateway.
    #[must_use]
    pub fn health(&self) -> Value {
        let known = self.known();
        let authorities = self.authorities.iter().zip(known.iter()).map(|(a, k)| {
            json!({
                "name": a.settings.name,
                "stamped": k.stamped.map(|(size, _)| size),
                "stamped_before": k.stamped.map(|(_, before)| before),
                "failures": k.failures,
                "trouble": k.trouble.as_ref().map(ToString::to_string),
            })
        });
        Value::Array(authorities.collect())
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        // A panic while it was held would leave what was known before.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what came of a question about `size` entries.
    fn arrived(&self, place: usize, size: u64, outcome: Result<u64, Trouble>) {
        let name = self
            .authorities
            .get(place)
            .map_or("", |a| a.settings.name.as_str());
        let mut known = self.known();
        let Some(known) = known.get_mut(place) else {
            return;
        };
        match outcome {
            Ok(before) => (known.stamped, known.trouble) = (Some((size, before)), None),
            Err(trouble) => {
                if known.trouble.as_ref() != Some(&trouble) {
                    tracing_line(&format!("timestamping authority {name} {trouble}"));
                }
                known.failures = known.failures.saturating_add(1);
                known.trouble = Some(trouble);
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Has checkpoints stamped, for as long as the gateway serves.
pub async fn keep(gateway: Arc<Gateway>) {
    if gateway.timestamps.authorities.is_empty() || gateway.serving.is_none() {
        return;
    }
    loop {
        gateway.timestamps.due.notified().await;
        let journal = Arc::clone(&gateway.journal);
        let made = tokio::task::spawn_blocking(move || journal.checkpoint_until_next()).await;
        // A log that signs no checkpoint says by its own health what is wrong with it.
        if let Ok(Ok(note)) = made {
            round(&gateway, &note).await;
        }
    }
}

/// Has the last checkpoint of an epoch that was closed stamped. What does not arrive in time is not waited for.
pub async fn last_words(gateway: &Arc<Gateway>) {
    if let Ok(Some(note)) = gateway.journal.latest_checkpoint() {
        round(gateway, &note).await;
    }
}

/// One checkpoint, shown to every authority.
async fn round(gateway: &Arc<Gateway>, note: &str) {
    // What our own journal signed is a checkpoint.
    let Ok(checkpoint) = Checkpoint::parse(note.as_bytes(), &gateway.id) else {
        return;
    };
    let (size, imprint) = (checkpoint.head().size, Imprint(checkpoint.imprint()));
    let note: Arc<str> = note.into();
    let mut asking = JoinSet::new();
    for (place, authority) in gateway.timestamps.authorities.iter().enumerate() {
        let (authority, gateway, note) = (
            Arc::clone(authority),
            Arc::clone(gateway),
            Arc::clone(&note),
        );
        asking.spawn(async move {
            let outcome = match authority.ask(&imprint).await {
                Ok(held) => store(&gateway, &authority, size, &note, held).await,
                Err(trouble) => Err(trouble),
            };
            gateway.timestamps.arrived(place, size, outcome);
        });
    }
    while asking.join_next().await.is_some() {}
}

/// Keeps a token beside the log; gives its latest time.
async fn store(
    gateway: &Gateway,
    authority: &Authority,
    size: u64,
    note: &str,
    held: Held,
) -> Result<u64, Trouble> {
    let Held { token, before } = held;
    let stamp = Stamp {
        size,
        note: note.to_owned(),
        authority: authority.settings.name.clone(),
        token,
    };
    let journal = Arc::clone(&gateway.journal);
    match tokio::task::spawn_blocking(move || journal.put_stamp(stamp)).await {
        Ok(Ok(())) => Ok(before),
        Ok(Err(_)) | Err(_) => Err(Trouble::NotKept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policies::site::settings::PlainAddress;

    fn timestamps() -> Timestamps {
        let root = include_bytes!("../../verifier/timestamps/testdata/openssl/ec-root.der");
        Timestamps::new(vec![AuthoritySettings {
            name: "Example Time".to_owned(),
            address: PlainAddress {
                authority: "127.0.0.1:1".to_owned(),
                path: "/".to_owned(),
            },
            root: countersign_timestamps::Authority::parse(root).unwrap(),
        }])
    }

    #[test]
    fn what_was_not_done_is_counted_until_it_is_written_down() {
        let t = timestamps();
        t.arrived(0, 5, Err(Trouble::Status(500)));
        t.arrived(0, 6, Err(NoAnswer::Timeout.into()));
        assert_eq!(t.take_failures(), 2);
        assert_eq!(t.take_failures(), 0);
        t.put_back_failures(2);
        assert_eq!(t.take_failures(), 2);
    }

    #[test]
    fn health_says_what_was_stamped_and_what_is_wrong() {
        let t = timestamps();
        t.arrived(0, 5, Ok(1_795_629_480_000));
        t.arrived(0, 9, Err(Trouble::Status(307)));
        let health = t.health();
        assert_eq!(health[0]["stamped"], 5);
        assert_eq!(health[0]["stamped_before"], 1_795_629_480_000u64);
        assert_eq!(health[0]["failures"], 1);
        assert_eq!(health[0]["trouble"], "refuses with status 307");
        t.arrived(0, 12, Ok(1_795_629_490_000));
        assert_eq!(t.health()[0]["trouble"], Value::Null);
    }

    #[tokio::test]
    async fn an_authority_that_is_not_there_is_unreachable() {
        let t = timestamps();
        let outcome = t.authorities[0].ask(&Imprint([7; 32])).await;
        assert_eq!(outcome.map(|h| h.token), Err(NoAnswer::Unreachable.into()));
    }
}
