//! Loading ONNX Runtime. One test, because a process can load it only once.

mod common;

use tollgate_models::{Bundle, Error, Runtime};

#[test]
fn a_bad_library_is_an_error_and_a_good_one_can_be_loaded_after_it_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Bundle::open(folder.path(), &common::definition);
    assert!(opened.is_err(), "an empty folder is no bundle");

    let missing = folder.path().join("libonnxruntime.so");
    let error = Runtime::load(&missing).unwrap_err().to_string();
    assert!(
        error.contains("libonnxruntime.so") && error.contains("cargo xtask onnxruntime"),
        "{error}"
    );

    std::fs::write(&missing, "not a library").unwrap();
    let error = Runtime::load(&missing).unwrap_err().to_string();
    assert!(error.contains("cargo xtask onnxruntime"), "{error}");

    let bundle = common::Folder::new(common::Model::Pair);
    std::fs::write(bundle.folder.path().join("manifest.yaml"), &bundle.manifest).unwrap();
    std::fs::write(bundle.folder.path().join("golden.json"), &bundle.golden).unwrap();
    let opened = Bundle::open(bundle.folder.path(), &common::definition);
    assert!(matches!(opened, Err(Error::RuntimeNotLoaded)));

    let runtime = Runtime::load(&common::library()).unwrap();
    assert!(runtime.library().is_absolute());
    assert!(!runtime.build().is_empty());
    // What is loaded stays loaded, so the path no longer matters.
    assert_eq!(Runtime::load(&common::library()).unwrap(), runtime);
    assert_eq!(Runtime::load(&missing).unwrap(), runtime);
    bundle.open().unwrap();
}
