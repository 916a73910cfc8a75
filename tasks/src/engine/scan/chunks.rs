//! Cutting text files into chunks of whole records, in the order of the files.
//!
//! One reader at a time cuts, so that it always knows whether it stands inside quotes; the
//! parsing of the chunks, which is the work, then runs in parallel.

use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use memchr::{memchr, memchr_iter, memrchr};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;

/// How large a record may be. A quote that is never closed would else take in the whole file.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// A file of records.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As a pipeline names it, without `file:`.
    pub(crate) name: String,
    pub(crate) path: Path,
    pub(crate) size: u64,
    /// Where its first record begins: behind a byte order mark and a header.
    pub(crate) start: u64,
    /// The column of each field of a record, for those that are columns.
    pub(crate) fields: Arc<[usize]>,
}

/// Whole records of one file.
pub(crate) struct Chunk {
    /// Ends with a newline, also where the file does not. Never empty.
    pub(crate) data: Bytes,
    /// Index of the source.
    pub(crate) source: usize,
    /// How many bytes of the file it is.
    pub(crate) bytes: u64,
}

/// Reads chunk after chunk.
pub(crate) struct Chunks {
    store: Arc<dyn ObjectStore>,
    sources: Arc<[Source]>,
    chunk_bytes: u64,
    /// Whether a newline within quotes belongs to a value.
    quotes: bool,
    source: usize,
    offset: Option<u64>,
}

impl Chunks {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        sources: Arc<[Source]>,
        chunk_bytes: u64,
        quotes: bool,
    ) -> Self {
        let chunk_bytes = chunk_bytes.clamp(1, MAX_RECORD_BYTES);
        Chunks { store, sources, chunk_bytes, quotes, source: 0, offset: None }
    }

    /// The next chunk, or `None` at the end of the last file.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>> {
        while let Some(source) = self.sources.get(self.source) {
            let offset = self.offset.unwrap_or(source.start);
            if offset < source.size {
                let (data, bytes) = self.read(source, offset).await?;
                self.offset = Some(offset + bytes);
                return Ok(Some(Chunk { data, source: self.source, bytes }));
            }
            self.source += 1;
            self.offset = None;
        }
        Ok(None)
    }

    /// Whole records from `offset` on, and how many bytes of the file they are.
    async fn read(&self, source: &Source, offset: u64) -> Result<(Bytes, u64)> {
        let mut want = self.chunk_bytes;
        loop {
            let end = source.size.min(offset.saturating_add(want));
            let data = self.store.get_range(&source.path, offset..end).await?;
            if data.len() as u64 != end - offset {
                return Err(DataFusionError::Execution(format!(
                    "`{}` became shorter while it was read",
                    source.name
                )));
            }
            if end == source.size {
                let bytes = data.len() as u64;
                return Ok((terminated(data), bytes));
            }
            if let Some(boundary) = last_boundary(&data, self.quotes) {
                return Ok((data.slice(..boundary), boundary as u64));
            }
            if want >= MAX_RECORD_BYTES {
                return Err(DataFusionError::Execution(format!(
                    "`{}` has a record of more than {} MiB at byte {offset}; is a quote never \
                     closed there?",
                    source.name,
                    MAX_RECORD_BYTES >> 20
                )));
            }
            want = (want * 2).min(MAX_RECORD_BYTES);
        }
    }
}

/// The text with a newline at its end.
fn terminated(data: Bytes) -> Bytes {
    if data.ends_with(b"\n") {
        return data;
    }
    let mut text = Vec::with_capacity(data.len() + 1);
    text.extend_from_slice(&data);
    text.push(b'\n');
    text.into()
}

/// Where the last whole record of some text that begins with a record ends.
pub(super) fn last_boundary(text: &[u8], quotes: bool) -> Option<usize> {
    if !quotes || memchr(b'"', text).is_none() {
        return memrchr(b'\n', text).map(|at| at + 1);
    }
    // The stretches outside of quotes; the last newline in one of them ends a record.
    let mut outside = Vec::new();
    let mut start = 0;
    while let Some(opening) = opening_quote(text, start) {
        outside.push(start..opening);
        match closing_quote(text, opening) {
            Some(closing) => start = closing + 1,
            None => {
                start = text.len();
                break;
            }
        }
    }
    outside.push(start..text.len());
    outside
        .into_iter()
        .rev()
        .find_map(|stretch| memrchr(b'\n', &text[stretch.clone()]).map(|at| stretch.start + at + 1))
}

/// The next quote at or behind `from` that begins a field. A quote within a field that does not
/// begin with one is part of its value.
fn opening_quote(text: &[u8], from: usize) -> Option<usize> {
    memchr_iter(b'"', &text[from..])
        .map(|at| from + at)
        .find(|at| *at == 0 || matches!(text[at - 1], b',' | b'\n'))
}

/// The quote that closes the field opened at `opening`: the first that is not doubled.
pub(super) fn closing_quote(text: &[u8], opening: usize) -> Option<usize> {
    let mut from = opening + 1;
    loop {
        let at = from + memchr(b'"', &text[from..])?;
        if text.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::PutPayload;
    use object_store::memory::InMemory;
    use proptest::prelude::*;

    fn check(text: &str, expect: Option<usize>) {
        assert_eq!(last_boundary(text.as_bytes(), true), expect, "{text:?}");
    }

    #[test]
    fn boundaries_respect_quotes() {
        check("a,b\nc", Some(4));
        check("a,\"b\nc\"\nd", Some(8));
        check("a,\"b\nc", None);
        check("x\na,\"b\nc", Some(2));
        check("a,\"b\"\"\nc\"\"\"\nd,e", Some(12));
        // A quote within a field without quotes opens nothing.
        check("5\" disk,a\n6\",b\nc", Some(15));
        // Text behind the closing quote does not open it again.
        check("\"a\"b\"c\nd", Some(7));
    }

    async fn cut(text: &str, chunk_bytes: u64) -> Vec<String> {
        let store = Arc::new(InMemory::new());
        let path = Path::from("f");
        store.put(&path, PutPayload::from(text.as_bytes().to_vec())).await.unwrap();
        let source = Source {
            name: "f".into(),
            path,
            size: text.len() as u64,
            start: 0,
            fields: Arc::new([]),
        };
        let mut chunks = Chunks::new(store, Arc::new([source]), chunk_bytes, true);
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            found.push(String::from_utf8(chunk.data.to_vec()).unwrap());
        }
        found
    }

    proptest! {
        /// Chunks of any size hold the whole text, and never end inside quotes.
        #[test]
        fn chunks_are_whole_records(
            records in proptest::collection::vec("([a-z]{0,3}|\"[a\n,]{0,5}(\"\"){0,2}\"),x", 0..20),
            chunk_bytes in 1u64..40,
        ) {
            let text = records.join("\n");
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let chunks = runtime.block_on(cut(&text, chunk_bytes));
            let whole: String = chunks.concat();
            let expected = if text.is_empty() { text.clone() } else { format!("{text}\n") };
            prop_assert_eq!(whole, expected);
            for chunk in chunks {
                prop_assert_eq!(chunk.matches('"').count() % 2, 0, "{:?}", chunk);
            }
        }
    }
}
