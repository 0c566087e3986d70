//! A bundle: a folder with a model, its manifest and its golden rows, opened only if the three agree.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::engine::Engine;
use crate::golden::Golden;
use crate::manifest::{Input, Manifest};

const MODEL_FILE: &str = "model.onnx";
const MANIFEST_FILE: &str = "manifest.yaml";
const GOLDEN_FILE: &str = "golden.json";

/// What people read of a model, in its bundle: what it was trained on and what it is worth.
pub const MODEL_CARD: &str = "model-card.md";

/// Every session holds a model several times over, so a model of this size is already out of proportion: 500
/// trees of depth 8 are 10 MB.
const MODEL_BYTES_MAX: u64 = 256 << 20;

/// What text files that people write may have at most.
const MANIFEST_BYTES_MAX: u64 = tollgate_source::BYTES_MAX;

/// Ten thousand rows of a hundred inputs; twenty rows are enough.
const GOLDEN_BYTES_MAX: u64 = 16 << 20;

/// How long a model may take to load, and for each run while it is verified: a million times what it should. Whoever waits
/// for a change of the policy waits for this at most a few times.
pub(crate) const VERIFICATION_MAX: Duration = Duration::from_secs(30);

/// A model that answers as its golden rows say, on features defined as they were when it was trained.
pub struct Bundle {
    manifest: Manifest,
    model: Arc<[u8]>,
    model_path: PathBuf,
    intra_threads: usize,
}

impl Bundle {
    /// Opens the bundle in `folder`, with everything verified. `definition` gives the policy's definition of a
    /// named feature, in its canonical form.
    ///
    /// Blocks for as long as ONNX Runtime takes to load the model (milliseconds for trees). Needs
    /// [`crate::Runtime::load`] first.
    pub fn open(folder: &Path, definition: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Self::open_within(folder, definition, VERIFICATION_MAX)
    }

    /// The same, with another longest time for loading the model and for each run of it while it is verified.
    pub fn open_within(
        folder: &Path,
        definition: &dyn Fn(&str) -> Option<String>,
        limit: Duration,
    ) -> Result<Self, Error> {
        Self::open_as(folder, definition, limit, 1)
    }

    /// The same, for a model whose runs use so many threads, the one that runs it included.
    pub fn open_with(
        folder: &Path,
        definition: &dyn Fn(&str) -> Option<String>,
        intra_threads: usize,
    ) -> Result<Self, Error> {
        Self::open_as(folder, definition, VERIFICATION_MAX, intra_threads)
    }

    fn open_as(
        folder: &Path,
        definition: &dyn Fn(&str) -> Option<String>,
        limit: Duration,
        intra_threads: usize,
    ) -> Result<Self, Error> {
        let manifest = read_manifest(&folder.join(MANIFEST_FILE))?;
        check_features(&manifest.inputs, &manifest.features_sha256, definition)?;
        let model_path = folder.join(MODEL_FILE);
        let model = read(&model_path, MODEL_BYTES_MAX)?;
        let found = hexadecimal(Sha256::digest(&model).as_slice());
        if found != manifest.model_sha256 {
            let expected = manifest.model_sha256;
            return Err(Error::ModelDigest {
                path: model_path,
                expected,
                found,
            });
        }
        let golden_path = folder.join(GOLDEN_FILE);
        let golden = Golden::parse(&read(&golden_path, GOLDEN_BYTES_MAX)?).map_err(|reason| {
            Error::Golden {
                path: golden_path.clone(),
                reason,
            }
        })?;
        let mut engine = Engine::verify(&model, &model_path, &manifest, limit)?;
        golden.verify(&golden_path, &manifest, &mut engine, limit)?;
        Ok(Self {
            manifest,
            model: model.into(),
            model_path,
            intra_threads,
        })
    }

    /// What stands in the manifest of the bundle in `folder`, not checked.
    pub fn manifest_text(folder: &Path) -> Result<Vec<u8>, Error> {
        read(&folder.join(MANIFEST_FILE), MANIFEST_BYTES_MAX)
    }

    /// A digest of all the files of the bundle in `folder`, as 64 hexadecimal digits: who has opened a bundle with the same
    /// digest need not open this one. Reads the files, and believes them.
    pub fn digest(folder: &Path) -> Result<String, Error> {
        let files = [
            (MANIFEST_FILE, MANIFEST_BYTES_MAX),
            (MODEL_FILE, MODEL_BYTES_MAX),
            (GOLDEN_FILE, GOLDEN_BYTES_MAX),
        ];
        let mut whole = Sha256::new();
        for (name, bytes_max) in files {
            whole.update(Sha256::digest(read(&folder.join(name), bytes_max)?));
        }
        Ok(hexadecimal(whole.finalize().as_slice()))
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Name and version, as decisions carry them: `card-fraud/3`.
    pub fn version(&self) -> String {
        format!("{}/{}", self.manifest.name, self.manifest.version)
    }

    /// The manifest and as many engines as asked for (at least one). All come from the bytes that were
    /// verified: what has happened to the file since does not matter.
    pub(crate) fn into_engines(self, engines: usize) -> Result<(Manifest, Vec<Engine>), Error> {
        let engine = |_| {
            Engine::load(
                &self.model,
                &self.model_path,
                &self.manifest,
                self.intra_threads,
            )
        };
        let all = (0..engines.max(1)).map(engine).collect::<Result<_, _>>()?;
        Ok((self.manifest, all))
    }
}

/// The digest over the definitions of a model's features, in the order of its inputs: SHA-256, in hexadecimal,
/// of one line `name: definition` each. Whoever writes a feature table and whoever serves it compare by this.
pub fn features_digest<'a>(definitions: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut digest = Sha256::new();
    for (name, definition) in definitions {
        for part in [name, ": ", definition, "\n"] {
            digest.update(part.as_bytes());
        }
    }
    hexadecimal(digest.finalize().as_slice())
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let manifest_error = |diagnostic| Error::Manifest {
        diagnostic: Box::new(diagnostic),
    };
    let file = tollgate_source::read(path, &path.to_string_lossy()).map_err(manifest_error)?;
    let manifest: Manifest = tollgate_source::from_str(&file).map_err(manifest_error)?;
    match manifest.check() {
        Ok(()) => Ok(manifest),
        Err(reason) => Err(Error::ManifestValue {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// MO-1: the model's features exist and mean what they meant when it was trained.
pub(crate) fn check_features(
    inputs: &[Input],
    expected: &str,
    definition: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let names = || inputs.iter().map(|input| input.feature.as_str());
    let definitions: Vec<Option<String>> = names().map(definition).collect();
    let pairs = || names().zip(definitions.iter().map(Option::as_deref));
    let features: Vec<String> = pairs()
        .filter(|(_, definition)| definition.is_none())
        .map(|(name, _)| name.to_owned())
        .collect();
    if !features.is_empty() {
        return Err(Error::UnknownFeatures { features });
    }
    let found = features_digest(pairs().filter_map(|(name, definition)| Some((name, definition?))));
    if found == expected {
        return Ok(());
    }
    Err(Error::FeaturesDigest {
        features: names().map(str::to_owned).collect(),
        expected: expected.to_owned(),
        found,
    })
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let file_error = |error| Error::File {
        path: path.to_owned(),
        error,
    };
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(file_error)?.is_file() {
        return Err(Error::NoFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(file_error)?;
    let bytes = file.metadata().map_err(file_error)?.len();
    if bytes > bytes_max {
        return Err(Error::FileTooLarge {
            path: path.to_owned(),
            bytes,
            bytes_max,
        });
    }
    let mut content = Vec::new();
    // A file that grows while it is read ends here; its digest will not match.
    file.take(bytes_max)
        .read_to_end(&mut content)
        .map_err(file_error)?;
    Ok(content)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_digest_depends_on_names_definitions_and_their_order() {
        let digest = |pairs: &[(&str, &str)]| features_digest(pairs.iter().copied());
        // printf 'a: 1 + 2\nb: x\n' | sha256sum
        let expected = "56c7fbe005a19d538af5556fc0e564cb9bc3dcb177d5e289b9921c1ca791e2d8";
        assert_eq!(digest(&[("a", "1 + 2"), ("b", "x")]), expected);
        assert_ne!(digest(&[("b", "x"), ("a", "1 + 2")]), expected);
        assert_ne!(digest(&[("a", "1 + 3"), ("b", "x")]), expected);
        assert_ne!(digest(&[("c", "1 + 2"), ("b", "x")]), expected);
    }
}
