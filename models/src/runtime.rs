//! The ONNX Runtime library: loaded once, for the whole process.

mod memory;

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::{Error, threads};
pub(crate) use memory::VERIFICATION_BYTES_MAX;

/// The one environment a process may have. ONNX Runtime keeps it only as long as somebody holds it and
/// then refuses another, so it is held here forever.
static ENVIRONMENT: OnceLock<(Runtime, Environment)> = OnceLock::new();

/// Proof that ONNX Runtime is loaded, and where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    library: PathBuf,
    build: String,
}

impl Runtime {
    /// Loads ONNX Runtime from a shared library of version 1.30 or newer.
    ///
    /// A process can load it once: after a success every further call answers with what is loaded already,
    /// whatever path it names. After an error it may be tried again with another path.
    pub fn load(library: &Path) -> Result<Self, Error> {
        static LOADING: Mutex<()> = Mutex::new(());
        // Nothing is left half done by a panic while the lock is held.
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((runtime, _)) = ENVIRONMENT.get() {
            return Ok(runtime.clone());
        }
        // Here, because whoever loads the runtime runs at the priority of the service.
        threads::prepare();
        let runtime_error = |reason: String| Error::Runtime {
            library: library.to_owned(),
            reason,
        };
        // A relative path would be looked for beside the executable first, and a bare name all over the
        // system: the file named is the file loaded.
        let found = library
            .canonicalize()
            .map_err(|error| runtime_error(error.to_string()))?;
        let environment = ort::init_from(&found)
            .map_err(|error| runtime_error(reason(&error)))?
            .with_name("tollgate")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|error| runtime_error(error.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        memory::bound(&environment).map_err(|error| runtime_error(error.to_string()))?;
        let runtime = Self {
            library: found,
            build: ort::info().to_owned(),
        };
        let (runtime, _) = ENVIRONMENT.get_or_init(|| (runtime, environment));
        tracing::info!(library = %runtime.library.display(), build = runtime.build, "onnx runtime loaded");
        Ok(runtime.clone())
    }

    /// The library's path as it was resolved.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// What the library says of its own build: branch, commit, flags.
    pub fn build(&self) -> &str {
        &self.build
    }

    pub(crate) fn environment() -> Result<&'static Environment, Error> {
        ENVIRONMENT
            .get()
            .map(|(_, environment)| environment)
            .ok_or(Error::RuntimeNotLoaded)
    }
}

/// What is wrong with the file, without its path and without advice, which [`Error`] has.
fn reason(error: &LoadDynamicError) -> String {
    match error {
        // The loader's own words are one level down.
        LoadDynamicError::Dlopen { error, .. } => error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
        LoadDynamicError::MissingApi { .. } => "it is a library, but not ONNX Runtime".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => format!("it is version {version_str}"),
        LoadDynamicError::InvalidVersionString => "it gives no version".to_owned(),
    }
}

/// ONNX Runtime's own messages, which would otherwise go to standard error past our log.
fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    let message = crate::engine::shown(message.to_owned());
    match level {
        LogLevel::Verbose | LogLevel::Info => tracing::debug!(location, "onnx runtime: {message}"),
        LogLevel::Warning => tracing::warn!(location, "onnx runtime: {message}"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(location, "onnx runtime: {message}"),
    }
}
