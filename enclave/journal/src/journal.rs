//! The journal as others see it.

use crate::append::Appended;
use crate::append::{Done, Draft, Queue, Sequencing, closing, prepare, submit};
use crate::command::{Command, Cosigned, Keep, Stamp};
use crate::commit::{Files, run_committer};
use crate::erase::Erased;
use crate::error::{AppendError, Fault, OpenError, Refusal, StoreError};
use crate::lookup::Recent;
use crate::open::{Fold, Found, FoundEntry, PendingOpening, PendingRenewal, Scan, Whose};
use crate::read::Reader;
use crate::sequence::{Moment, Owner};
use crate::side::{KeyRing, Purpose, Side};
use crate::store::{Ballast, Lock, Paths, Readers, Watch};
use crate::tree::Tree;
use countersign_record::body::{TenantHead, tenants_root};
use countersign_record::digest::{
    ArtifactDigest, EntryDigest, GatewayId, KeyId, NodeHash, PublicKey, RunId, Signature, TenantId,
    UnixMillis,
};
use countersign_record::merkle::Head;
use ed25519_dalek::SigningKey;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// How much the journal holds and sets aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Drafts that may wait to be signed, settlements not counted.
    pub waiting: usize,
    /// Calls that may wait for their settlement.
    pub open_calls: usize,
    /// Room on disk for one settlement with its disclosures, in bytes.
    pub settlement_bytes: u64,
    /// Runs that may be open.
    pub open_runs: usize,
    /// Tenants that may have entries.
    pub tenants: usize,
}

impl Default for Limits {
    /// 4,096 waiting (0.1 s at 40,000/s); 1,024 open calls of 64 KiB (64 MiB set aside); 65,536 runs and tenants
    /// (about 150 bytes each).
    fn default() -> Self {
        Self {
            waiting: 4096,
            open_calls: 1024,
            settlement_bytes: 65_536,
            open_runs: 65_536,
            tenants: 65_536,
        }
    }
}

/// What a journal needs to know.
pub struct Options {
    /// The gateway's identity key; a log of another gateway is refused.
    pub identity: PublicKey,
    /// Keys of the encrypted side store.
    pub ring: KeyRing,
    /// Limits.
    pub limits: Limits,
    /// Who commits an entry that is alone.
    pub alone: Alone,
}

/// Who commits an entry while nothing else waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// The journal's thread, as always. Whoever appends waits for nothing.
    ByThread,
    /// Whoever appended it, as long as flushes are quick: two changes of threads less.
    ByCaller,
}

impl Alone {
    /// By its caller, unless there is one processor: then nobody else could go on while it waits for the disk.
    #[must_use]
    pub fn on_this_machine() -> Self {
        match thread::available_parallelism() {
            Ok(n) if n.get() > 1 => Self::ByCaller,
            Ok(_) | Err(_) => Self::ByThread,
        }
    }
}

/// Signs with the gateway's identity key, which stays with the caller.
pub type IdentitySigner = Box<dyn Fn(&[u8]) -> Signature + Send + Sync>;

/// The keys of an epoch. The epoch key is wiped when this goes.
pub struct EpochSigner {
    pub(crate) epoch: SigningKey,
    pub(crate) kid: KeyId,
    pub(crate) public: PublicKey,
    pub(crate) identity: IdentitySigner,
}

impl EpochSigner {
    /// Takes the epoch key over.
    #[must_use]
    pub fn new(epoch: SigningKey, identity: IdentitySigner) -> Self {
        let public = PublicKey(epoch.verifying_key().to_bytes());
        Self {
            epoch,
            kid: public.id(),
            public,
            identity,
        }
    }
}

/// Whether the journal takes entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It does.
    #[default]
    Open,
    /// The store failed; settlements are still tried, on the room set aside for them.
    Refusing(Fault),
    /// The store cannot be trusted any more; only a restart helps.
    Stopped(Fault),
}

/// The durable log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Size and root.
    pub head: Head,
    /// Root over every tenant's last number.
    pub tenants_root: NodeHash,
    /// How many tenants have entries.
    pub tenant_count: u64,
    /// The last entry.
    pub last: Option<FoundEntry>,
    /// The base of the open epoch, or of the last.
    pub base: Option<EntryDigest>,
}

/// What is durable, as memory has it.
pub(crate) struct Durable {
    pub(crate) tree: Tree,
    /// Last number of each tenant.
    pub(crate) tenants: HashMap<TenantId, u64>,
    pub(crate) last: Option<FoundEntry>,
    pub(crate) base: Option<EntryDigest>,
    pub(crate) recent: Recent,
    /// What erasures have destroyed.
    pub(crate) erased: Erased,
    pub(crate) signer: Option<Arc<EpochSigner>>,
    /// Head of the newest checkpoint.
    pub(crate) noted: Option<Head>,
}

/// What callers and the committing thread share. Locks are taken in this order: files, sequencing, queue; durable last.
pub(crate) struct Shared {
    /// What is written to; nothing once the journal has stopped, or if it is an archive.
    pub(crate) files: Mutex<Option<Files>>,
    pub(crate) sequencing: Mutex<Sequencing>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) to_commit: Condvar,
    pub(crate) durable: Mutex<Durable>,
    pub(crate) readers: Readers,
    pub(crate) side: Side,
    pub(crate) identity: PublicKey,
    pub(crate) gateway: GatewayId,
    pub(crate) limits: Limits,
    pub(crate) alone: Alone,
}

/// A poisoned lock means that a callback panicked; the state behind our locks is whole between statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The durable log of one gateway.
pub struct Journal {
    reader: Reader,
    committer: Option<JoinHandle<()>>,
    // ORDER: dropped after the thread has ended and closed the database.
    _lock: Lock,
}

impl Deref for Journal {
    type Target = Reader;

    /// What is durable can be read.
    fn deref(&self) -> &Reader {
        &self.reader
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("gateway", &self.shared.gateway)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Refuses a log that another process has open; makes nothing, and keeps nothing.
    ///
    /// For whoever has something to do before [`Self::open`], which decides.
    ///
    /// # Errors
    /// If it is in use, or the directory cannot be read.
    pub fn refuse_if_in_use(dir: &Path) -> Result<(), OpenError> {
        Lock::look(&Paths {
            dir: dir.to_owned(),
        })
    }

    /// Opens the log in `dir`, or creates it; `fold` gets every entry, in order.
    ///
    /// Every entry is parsed strictly and compared with stored hashes and with its place in
    /// three sequences. Entries under the newest checkpoint are vouched for by the identity
    /// key's signature over their root; signatures of later ones are verified one by one.
    /// What `fold` has seen counts only if this returns a journal.
    ///
    /// # Errors
    /// The first thing that is not as it was written. Nothing is repaired.
    pub fn open(dir: &Path, options: Options, fold: Fold<'_>) -> Result<(Self, Found), OpenError> {
        let Options {
            identity,
            ring,
            limits,
            alone,
        } = options;
        let paths = Paths {
            dir: dir.to_owned(),
        };
        let lock = Lock::take(&paths)?;
        let (conn, before) = crate::store::open(&paths)?;
        let gateway = identity.gateway();
        let side = Side::new(ring, gateway);
        let Scan {
            mut sequence,
            durable,
            mut found,
        } = crate::open::scan(&conn, identity, &side, Whose::Own(limits), fold)?;
        found.created = before.created;
        found.wal_recovered = before.wal_left;
        sequence.end();
        let bytes = limits
            .settlement_bytes
            .saturating_mul(u64::try_from(limits.open_calls).unwrap_or(u64::MAX));
        let ballast = Ballast::new(&paths, bytes);
        ballast.fill().map_err(|e| OpenError::Room {
            bytes,
            reason: e.to_string(),
        })?;
        let files = Files {
            watch: Watch::start(&paths)?,
            conn,
            ballast,
            newest: None,
            noted: None,
        };
        let queue = Queue {
            reserved: sequence.open_calls(),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            files: Mutex::new(Some(files)),
            sequencing: Mutex::new(Sequencing {
                sequence,
                signer: None,
            }),
            queue: Mutex::new(queue),
            to_commit: Condvar::new(),
            durable: Mutex::new(durable),
            readers: Readers::new(&paths),
            side,
            identity,
            gateway,
            limits,
            alone,
        });
        let committer = start_committer(&shared)?;
        Ok((
            Self {
                reader: Reader { shared },
                committer: Some(committer),
                _lock: lock,
            },
            found,
        ))
    }

    /// Takes the keys of a new epoch. The next entry must be its base.
    ///
    /// # Errors
    /// [`Refusal::EpochOpen`] while an epoch is open.
    pub fn begin_epoch(&self, signer: EpochSigner) -> Result<(), Refusal> {
        let signer = Arc::new(signer);
        let mut sequencing = locked(&self.shared.sequencing);
        sequencing.sequence.begin(signer.kid)?;
        sequencing.signer = Some(Arc::clone(&signer));
        locked(&self.shared.durable).signer = Some(signer);
        Ok(())
    }

    /// Appends an entry; `done` is called once, when it is durable or will not be.
    pub fn append(&self, draft: Draft, done: Done) {
        match prepare(&self.shared, draft, done) {
            Ok(pending) => submit(&self.shared, pending),
            Err((done, error)) => done(Err(error)),
        }
    }

    /// Appends an entry and waits for it.
    ///
    /// # Errors
    /// Why it is not in the log.
    pub fn append_and_wait(&self, draft: Draft) -> Result<Appended, AppendError> {
        wait(|done| self.append(draft, done))
    }

    /// Closes a run with a summary of its entries. Its identifier is spent.
    pub fn close_run(
        &self,
        tenant: TenantId,
        run: RunId,
        at: UnixMillis,
        since_boot: u64,
        done: Done,
    ) {
        let owner = Owner {
            tenant: Some(tenant),
            run: Some(run),
        };
        submit(
            &self.shared,
            closing(owner, run, Moment { at, since_boot }, done),
        );
    }

    /// Closes a run and waits for it.
    ///
    /// # Errors
    /// Why it is not closed.
    pub fn close_run_and_wait(
        &self,
        tenant: TenantId,
        run: RunId,
        at: UnixMillis,
        since_boot: u64,
    ) -> Result<Appended, AppendError> {
        wait(|done| self.close_run(tenant, run, at, since_boot, done))
    }

    /// Runs that are open, with their tenant.
    #[must_use]
    pub fn open_runs(&self) -> Vec<(TenantId, RunId)> {
        locked(&self.shared.sequencing)
            .sequence
            .runs()
            .map(|(id, run)| (run.tenant, *id))
            .collect()
    }

    /// The durable log at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let durable = locked(&self.shared.durable);
        let head = durable.tree.head();
        let (last, base) = (durable.last, durable.base);
        let heads: Vec<TenantHead> = durable
            .tenants
            .iter()
            .map(|(tenant, seq)| TenantHead {
                tenant: *tenant,
                seq: *seq,
            })
            .collect();
        drop(durable);
        let tenant_count = u64::try_from(heads.len()).unwrap_or(u64::MAX);
        Snapshot {
            head,
            tenants_root: tenants_root(&heads),
            tenant_count,
            last,
            base,
        }
    }

    /// How many entries are durable at this moment.
    #[must_use]
    pub fn size(&self) -> u64 {
        locked(&self.shared.durable).tree.size()
    }

    /// Every tenant's last number at this moment.
    #[must_use]
    pub fn tenant_heads(&self) -> Vec<TenantHead> {
        let durable = locked(&self.shared.durable);
        durable
            .tenants
            .iter()
            .map(|(tenant, seq)| TenantHead {
                tenant: *tenant,
                seq: *seq,
            })
            .collect()
    }

    /// Signs and stores a checkpoint over the durable log; it is kept. Others come by themselves, at most one a second.
    ///
    /// # Errors
    /// If there is no key, or the store fails.
    pub fn checkpoint(&self) -> Result<String, StoreError> {
        self.command(|reply| Command::Checkpoint(Keep::Always, reply))
    }

    /// Signs and stores a checkpoint over the durable log, whose place the next one takes.
    ///
    /// # Errors
    /// If there is no key, or the store fails.
    pub fn checkpoint_until_next(&self) -> Result<String, StoreError> {
        self.command(|reply| Command::Checkpoint(Keep::UntilNext, reply))
    }

    /// Puts a witness's line under a checkpoint. Durable on return. Whether its signature holds is the caller's to know.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_cosignature(&self, cosigned: Cosigned) -> Result<(), StoreError> {
        self.command(|reply| Command::Cosigned(cosigned, reply))
    }

    /// Keeps an outside clock's token over a checkpoint, which stays for good. Durable on return. Whether the token holds
    /// is the caller's to know.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_stamp(&self, stamp: Stamp) -> Result<(), StoreError> {
        self.command(|reply| Command::Stamped(stamp, reply))
    }

    /// Announces an epoch whose base is not written yet. Durable on return; a base takes all of these away.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_pending_opening(&self, opening: &PendingOpening) -> Result<(), StoreError> {
        self.put_pending(PendingOpening::KIND, |size| opening.to_row(size))
    }

    /// Announces a renewal that is not written yet. Durable on return; a renewal, close or base takes it away.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_pending_renewal(&self, renewal: &PendingRenewal) -> Result<(), StoreError> {
        self.put_pending(PendingRenewal::KIND, |size| renewal.to_row(size))
    }

    fn put_pending(&self, kind: i64, row: impl FnOnce(u64) -> Vec<u8>) -> Result<(), StoreError> {
        let size = locked(&self.shared.durable).tree.size();
        let sealed = self.shared.side.seal(Purpose::Pending, &row(size))?;
        self.command(|reply| Command::Pending {
            kind,
            sealed,
            reply,
        })
    }

    /// Stores bytes that entries refer to by digest. Durable on return.
    ///
    /// # Errors
    /// If the store fails.
    pub fn put_artifact(&self, kind: &str, bytes: &[u8]) -> Result<ArtifactDigest, StoreError> {
        let digest = ArtifactDigest::of(bytes);
        let (kind, bytes) = (kind.to_owned(), bytes.to_vec());
        self.command(|reply| Command::Artifact {
            digest,
            kind,
            bytes,
            reply,
        })?;
        Ok(digest)
    }

    /// Tries to write again after a fault; on success new calls are taken.
    ///
    /// # Errors
    /// What is still wrong.
    pub fn resume(&self) -> Result<(), StoreError> {
        self.command(Command::Resume)
    }

    /// Whether entries are taken.
    #[must_use]
    pub fn health(&self) -> Health {
        locked(&self.shared.queue).health
    }

    /// Calls that are open or about to be; each has room for its settlement.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        locked(&self.shared.queue).reserved
    }

    pub(crate) fn command<T>(
        &self,
        make: impl FnOnce(SyncSender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        let mut queue = locked(&self.shared.queue);
        queue.commands.push_back(make(reply));
        drop(queue);
        self.shared.to_commit.notify_one();
        answer
            .recv()
            .unwrap_or(Err(StoreError::Store(Fault::Stopped)))
    }
}

impl Drop for Journal {
    /// Flushes what waits, then closes the database.
    fn drop(&mut self) {
        locked(&self.shared.queue).stopping = true;
        self.shared.to_commit.notify_one();
        // A thread that panicked has nothing left to say.
        drop(self.committer.take().map(JoinHandle::join));
        drop(locked(&self.shared.files).take());
    }
}

fn wait(start: impl FnOnce(Done)) -> Result<Appended, AppendError> {
    let (reply, answer) = sync_channel(1);
    start(Box::new(move |result| drop(reply.send(result))));
    answer
        .recv()
        .unwrap_or(Err(AppendError::NotDurable(Fault::Stopped)))
}

fn start_committer(shared: &Arc<Shared>) -> Result<JoinHandle<()>, OpenError> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run_committer(&shared))
        .map_err(|e| OpenError::Thread {
            reason: e.to_string(),
        })
}
