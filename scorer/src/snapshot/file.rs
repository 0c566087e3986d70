//! The file of a snapshot: a magic word and the form's number, then parts one behind another: a header that says what was kept
//! under what, the chunks of the store's image, and a trailer with the positions in the log.
//!
//! Each part is compressed and has a checksum, so a file that was torn or has rotted is known for what it is before
//! anything of it is used; the trailer comes last and its counts must agree, so a file that lacks something is too.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_features::{ImageSize, Store};
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

use super::Skipped;
use crate::frames::{self, Head};
use crate::ingest::LogPositions;

const MAGIC: [u8; 17] = *b"tollgate-snapshot";

/// The form of the file, and of the image in it.
const FORM: u32 = 1;

/// The fastest: writing shares the machine with requests.
const LEVEL: i32 = 1;

/// Most bytes of a part, unpacked: more than the history of an entity with six million events, the largest there may be.
const PART_BYTES_MAX: usize = 256 << 20;

const BUFFER_BYTES: usize = 1 << 20;

/// Bytes that are packed or given to the system at once: a fraction of a millisecond, and all that packing looks at together anyway.
const STEP_BYTES: usize = 1 << 17;

/// The disk is told to keep what there is each time that so many bytes have come, instead of all of a gigabyte at the end.
const SYNC_BYTES: u64 = 16 << 20;

/// What was kept under what, and in which log positions are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// When it was begun, in microseconds since 1970.
    pub(crate) created: i64,
    /// The cluster's own name for itself.
    pub(crate) cluster: Option<String>,
    pub(crate) transactions_topic: String,
    pub(crate) labels_topic: String,
    /// The currency that amounts were converted to.
    pub(crate) base: String,
    /// What is retained, a line per entity.
    pub(crate) retained: Vec<String>,
}

/// What is known only when all is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trailer {
    pub(crate) positions: LogPositions,
    entities: usize,
    labels: usize,
    chunks: usize,
    /// Bytes of all chunks, unpacked.
    bytes: usize,
}

impl Trailer {
    pub(crate) const fn new(positions: LogPositions, size: ImageSize) -> Self {
        Self {
            positions,
            entities: size.entities,
            labels: size.labels,
            chunks: size.chunks,
            bytes: size.bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header = 1,
    Chunk = 2,
    Trailer = 3,
}

/// A file that is being written.
pub(super) struct Writer {
    file: BufWriter<File>,
    packer: Encoder<'static>,
    packed: Vec<u8>,
    bytes: u64,
    /// Bytes that the disk has.
    synced: u64,
}

impl Writer {
    pub(super) fn create(path: &Path, header: &Header) -> std::io::Result<Self> {
        let file = BufWriter::with_capacity(STEP_BYTES, File::create(path)?);
        let mut writer = Self {
            file,
            packer: Encoder::new(LEVEL)?,
            packed: Vec::new(),
            bytes: 0,
            synced: 0,
        };
        writer.write(&MAGIC)?;
        writer.write(&form().to_le_bytes())?;
        writer.part(Part::Header, &serde_json::to_vec(header)?, &mut || {})?;
        Ok(writer)
    }

    /// `rest` is called after each fraction of a millisecond of work.
    pub(super) fn chunk(&mut self, chunk: &[u8], rest: &mut impl FnMut()) -> std::io::Result<()> {
        self.part(Part::Chunk, chunk, rest)?;
        if self.bytes - self.synced >= SYNC_BYTES {
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
            self.synced = self.bytes;
        }
        Ok(())
    }

    /// Ends the file, and returns its size once the disk has it.
    pub(super) fn finish(mut self, trailer: &Trailer) -> std::io::Result<u64> {
        self.part(Part::Trailer, &serde_json::to_vec(trailer)?, &mut || {})?;
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.sync_all()?;
        Ok(self.bytes)
    }

    fn part(&mut self, part: Part, content: &[u8], rest: &mut impl FnMut()) -> std::io::Result<()> {
        if content.len() > PART_BYTES_MAX {
            let what = "one entity has more events than a snapshot can hold; limit them by events_max in schema.yaml";
            return Err(std::io::Error::other(what));
        }
        self.pack(content, rest)?;
        let packed = std::mem::take(&mut self.packed);
        let head = head(part, packed.len(), content.len()).to_bytes();
        self.write(&head)?;
        self.write(&frames::checksum(head, &[&packed]).to_le_bytes())?;
        for step in packed.chunks(STEP_BYTES) {
            self.write(step)?;
            rest();
        }
        self.packed = packed;
        Ok(())
    }

    /// Packs a part into `packed`, step by step; what unpacks it does not see the steps.
    fn pack(&mut self, content: &[u8], rest: &mut impl FnMut()) -> std::io::Result<()> {
        self.packed.clear();
        self.packed
            .reserve(zstd::zstd_safe::compress_bound(content.len()));
        self.packer.reinit()?;
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.packer.set_pledged_src_size(Some(length))?;
        let mut to = OutBuffer::around(&mut self.packed);
        let full = || std::io::Error::other("a part does not get smaller; this is a bug");
        for step in content.chunks(STEP_BYTES) {
            let mut from = InBuffer::around(step);
            while from.pos() < step.len() {
                let before = (from.pos(), to.pos());
                self.packer.run(&mut from, &mut to)?;
                if (from.pos(), to.pos()) == before {
                    return Err(full());
                }
            }
            rest();
        }
        // There is room for all of it, so it ends at once.
        match self.packer.finish(&mut to, true)? {
            0 => Ok(()),
            _ => Err(full()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }
}

/// A file that is being read.
pub(super) struct Reader {
    file: BufReader<File>,
    /// Bytes that are still to be read.
    left: u64,
    chunks: usize,
    bytes: usize,
}

impl Reader {
    /// Opens a file and reads what it says of itself.
    pub(super) fn open(path: &Path) -> Result<(Self, Header), Skipped> {
        let file = File::open(path).map_err(Skipped::Unreadable)?;
        let left = file.metadata().map_err(Skipped::Unreadable)?.len();
        let mut reader = Self {
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            left,
            chunks: 0,
            bytes: 0,
        };
        if reader.array()? != MAGIC {
            return Err(Skipped::Corrupt("it does not begin as snapshots do"));
        }
        let written = u32::from_le_bytes(reader.array()?);
        if written != form() {
            return Err(Skipped::OtherForm {
                written,
                read: form(),
            });
        }
        let (part, content) = reader.part()?;
        if part != Part::Header {
            return Err(Skipped::Corrupt("its header is missing"));
        }
        Ok((reader, decode(&content)?))
    }

    /// The next chunk, or the trailer behind the last one.
    pub(super) fn next(&mut self) -> Result<Result<Vec<u8>, Trailer>, Skipped> {
        let (part, content) = self.part()?;
        match part {
            Part::Chunk => {
                self.chunks += 1;
                self.bytes += content.len();
                Ok(Ok(content))
            }
            Part::Trailer => {
                let trailer: Trailer = decode(&content)?;
                if (trailer.chunks, trailer.bytes) != (self.chunks, self.bytes) || self.left > 0 {
                    return Err(Skipped::Corrupt("its parts are not those it tells of"));
                }
                Ok(Err(trailer))
            }
            Part::Header => Err(Skipped::Corrupt("it has two headers")),
        }
    }

    fn part(&mut self) -> Result<(Part, Vec<u8>), Skipped> {
        let head_bytes = self.array()?;
        let expected = u64::from_le_bytes(self.array()?);
        let head = Head::from_bytes(head_bytes);
        let bytes = head.extra();
        if u64::from(head.length) > self.left {
            return Err(Skipped::Torn);
        }
        let mut packed = vec![0; head.length()];
        self.fill(&mut packed)?;
        if frames::checksum(head_bytes, &[&packed]) != expected {
            return Err(Skipped::Corrupt("a checksum is wrong"));
        }
        let part = match head.kind {
            1 => Part::Header,
            2 => Part::Chunk,
            3 => Part::Trailer,
            _ => return Err(Skipped::Corrupt("it has a part that is none")),
        };
        if bytes > PART_BYTES_MAX {
            return Err(Skipped::Corrupt("it has a part that is too large"));
        }
        let content = zstd::bulk::decompress(&packed, bytes);
        let content = content.map_err(|_| Skipped::Corrupt("a part does not unpack"))?;
        if content.len() != bytes {
            return Err(Skipped::Corrupt("a part does not unpack"));
        }
        Ok((part, content))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Skipped> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Skipped> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(length).ok_or(Skipped::Torn)?;
        self.file
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Skipped::Torn,
                _ => Skipped::Unreadable(error),
            })
    }
}

/// The number of the form: another one of the file or of the image is another one of all.
const fn form() -> u32 {
    FORM << 16 | Store::IMAGE_VERSION
}

/// What the frame of a part says: its extra number is the length of what is packed in it.
fn head(part: Part, packed: usize, content: usize) -> Head {
    // Both are below `PART_BYTES_MAX` and a little.
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    Head {
        kind: part as u8,
        length: length(packed),
        extra: length(content),
    }
}

fn decode<T: DeserializeOwned>(content: &[u8]) -> Result<T, Skipped> {
    serde_json::from_slice(content).map_err(|_| Skipped::Corrupt("a part makes no sense"))
}
