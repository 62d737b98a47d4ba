//! The same interface without `async`, for programs without a runtime: [`Client`] and what it makes.
//!
//! The types have the names and methods of those at the top of the crate, and block the calling thread until there is a
//! result. They use the asynchronous client, on a runtime of their own: one thread, which ends with the last clone of
//! the [`Client`]. Where a tokio runtime is active on the calling thread, waiting would block it; a call sends nothing
//! there, and fails with [`ErrorKind::AsyncContext`].
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let server = runtime.block_on(akool_mock::MockServer::start());
//! # server.on_create(akool_mock::Timeline::new().completed());
//! # let (base_url, key) = (server.url(), server.api_key());
//! use akool::{Credential, blocking::Client};
//!
//! // Or Client::from_env(), which reads AKOOL_API_KEY or AKOOL_TOKEN.
//! let client = akool::Client::builder().base_url(base_url).credential(Credential::api_key(key)?).build()?;
//! let client = Client::new(client)?;
//! let created = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).send()?;
//! for job in &created.jobs {
//!     println!("{job}: {}", client.job(&job.id).wait().finish()?.video());
//! }
//! # Ok(())
//! # }
//! ```

use std::{
    convert::Infallible,
    iter,
    ops::{Deref, DerefMut},
    sync::Arc,
    thread,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::{
    Captions, ConfigError, CreateError, Created, End, Error, ErrorKind, IntoLanguages, JobId, Language,
    LanguageInfo, PollPolicy, PollState, Snapshot, SourceId, Translation, Update, VoiceStyle, WaitError,
};

/// The runtime of a client. Its thread ends when this is dropped.
#[derive(Debug)]
struct Runtime {
    handle: Handle,
    _stop: oneshot::Sender<Infallible>,
}

impl Runtime {
    fn start() -> Result<Arc<Self>, ConfigError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ConfigError::Runtime)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || drop(runtime.block_on(stopped));
        thread::Builder::new().name("akool-blocking".to_owned()).spawn(run).map_err(ConfigError::Runtime)?;
        Ok(Arc::new(Self { handle, _stop: stop }))
    }

    fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        if Handle::try_current().is_ok() {
            let message = "the blocking client was called where a tokio runtime is active; nothing was sent";
            return Err(Error::new(ErrorKind::AsyncContext, message).without_effect());
        }
        Ok(self.handle.block_on(future))
    }
}

/// The blocking form of an asynchronous type. It dereferences to that type for methods that do not wait.
#[derive(Clone, Debug)]
#[must_use = "creations and waits do nothing until they are sent or finished"]
pub struct Blocking<T> {
    inner: T,
    runtime: Arc<Runtime>,
}

/// The blocking form of [`crate::Client`]. Clones share connections, thread, and the pause that the service asked for.
pub type Client = Blocking<crate::Client>;
/// The blocking form of [`crate::Translate`].
pub type Translate = Blocking<crate::Translate>;
/// The blocking form of [`crate::Job`].
pub type Job = Blocking<crate::Job>;
/// The blocking form of [`crate::Wait`].
pub type Wait = Blocking<crate::Wait>;
/// The blocking form of [`crate::WaitSet`]: an iterator over the updates of many jobs, until no job is left.
pub type WaitSet = Blocking<crate::WaitSet>;

impl<T> Blocking<T> {
    fn with<U>(&self, inner: U) -> Blocking<U> {
        Blocking { inner, runtime: Arc::clone(&self.runtime) }
    }
}

impl<T> Deref for Blocking<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Blocking<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl Client {
    /// Makes a blocking client of one that was built with [`crate::ClientBuilder`]. Do not use that one, or clones of it,
    /// on another runtime: they share connections.
    ///
    /// # Errors
    /// [`ConfigError::Runtime`] if the thread cannot be started.
    pub fn new(client: crate::Client) -> Result<Self, ConfigError> {
        Ok(Self { inner: client, runtime: Runtime::start()? })
    }

    /// See [`crate::Client::from_env`].
    ///
    /// # Errors
    /// If the variables cannot be used, or the thread cannot be started.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::new(crate::Client::from_env()?)
    }

    /// See [`crate::Client::translate`].
    pub fn translate(&self, url: impl Into<String>) -> Translate {
        self.with(self.inner.translate(url))
    }

    /// See [`crate::Client::job`].
    pub fn job(&self, id: impl Into<JobId>) -> Job {
        self.with(self.inner.job(id))
    }

    /// See [`crate::Client::wait_set`].
    pub fn wait_set(&self) -> WaitSet {
        self.with(self.inner.wait_set())
    }

    /// See [`crate::Client::languages`].
    ///
    /// # Errors
    /// Those of the asynchronous method, and [`ErrorKind::AsyncContext`].
    pub fn languages(&self) -> Result<Vec<LanguageInfo>, Error> {
        self.runtime.block_on(self.inner.languages())?
    }

    /// See [`crate::Client::credits`].
    ///
    /// # Errors
    /// Those of the asynchronous method, and [`ErrorKind::AsyncContext`].
    pub fn credits(&self) -> Result<f64, Error> {
        self.runtime.block_on(self.inner.credits())?
    }
}

/// Methods that change what they are called on, like those of the asynchronous type.
macro_rules! setters {
    ($type:ident: $($name:ident$(<$generic:ident>)?($($argument:ident: $of:ty),*);)*) => {
        impl $type {$(
            #[doc = concat!("See [`crate::", stringify!($type), "::", stringify!($name), "`].")]
            pub fn $name$(<$generic>)?(mut self, $($argument: $of),*) -> Self {
                self.inner = self.inner.$name($($argument),*);
                self
            }
        )*}
    };
}

setters! { Translate:
    to<M>(languages: impl IntoLanguages<M>);
    source_language(language: impl Into<Language>);
    lipsync(on: bool);
    speakers(count: u32);
    remove_background_music(on: bool);
    captions(captions: Captions);
    caption_file(url: impl Into<String>);
    with_url(url: impl Into<String>);
    identified_by(source: SourceId);
    caption_file_identified_by(source: SourceId);
    keep_words(words: impl IntoIterator<Item = impl Into<String>>);
    translate_word(word: impl Into<String>, translation: impl Into<String>);
    pronounce_word(word: impl Into<String>, pronunciation: impl Into<String>);
    style(style: VoiceStyle);
    dynamic_duration(on: bool);
    webhook(url: impl Into<String>);
    retain_languages(keep: impl FnMut(&Language) -> bool);
}

setters! { Wait:
    timeout(timeout: Duration);
    without_timeout();
    policy(policy: PollPolicy);
    poll_on(triggers: impl Stream<Item = ()> + Send + 'static);
}

setters! { WaitSet:
    timeout(timeout: Duration);
    without_timeout();
    policy(policy: PollPolicy);
    max_concurrent_polls(polls: usize);
    max_polls_per_second(polls: f64);
}

impl Translate {
    /// Makes exactly one request. See [`crate::Translate::send`].
    ///
    /// # Errors
    /// Those of the asynchronous method, and [`ErrorKind::AsyncContext`] in [`CreateError::NotCreated`].
    pub fn send(self) -> Result<Created, CreateError> {
        self.runtime.block_on(self.inner.send()).map_err(CreateError::of)?
    }
}

impl Job {
    /// Polls the job once. See [`crate::Job::get`].
    ///
    /// # Errors
    /// Those of the asynchronous method, and [`ErrorKind::AsyncContext`].
    pub fn get(&self) -> Result<Snapshot, Error> {
        self.runtime.block_on(self.inner.get())?
    }

    /// See [`crate::Job::wait`].
    pub fn wait(&self) -> Wait {
        self.with(self.inner.wait())
    }
}

impl Wait {
    /// Waits for the job's end, as `await` does for [`crate::Wait`].
    ///
    /// # Errors
    /// Those of the asynchronous wait, and [`ErrorKind::AsyncContext`] in [`WaitError::Rejected`].
    pub fn finish(self) -> Result<Translation, WaitError> {
        let job = self.inner.job().clone();
        self.runtime.block_on(self.inner.into_future()).unwrap_or_else(|source| not_waited(&job, source))
    }

    /// Everything that happens, as an iterator. The last item is [`Update::Finished`].
    pub fn updates(self) -> impl Iterator<Item = Update> {
        let Self { inner, runtime } = self;
        let job = inner.job().clone();
        let mut updates = Some(inner.updates());
        iter::from_fn(move || {
            runtime.block_on(updates.as_mut()?.next()).unwrap_or_else(|source| {
                updates = None;
                Some(Update::Finished(not_waited(&job, source)))
            })
        })
    }
}

impl Iterator for WaitSet {
    type Item = (JobId, Update);

    fn next(&mut self) -> Option<(JobId, Update)> {
        self.runtime.block_on(self.inner.next()).unwrap_or_else(|source| {
            let job = self.inner.jobs().next()?.0.clone();
            self.inner.remove(&job);
            let update = Update::Finished(not_waited(&job, source));
            Some((job, update))
        })
    }
}

/// The result of a wait that could not poll.
fn not_waited(job: &JobId, source: Error) -> Result<Translation, WaitError> {
    End::Rejected.result(job, &PollState::new(0), Duration::ZERO, Some(Err(source)))
}
