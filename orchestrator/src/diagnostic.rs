//! What is wrong with a pipeline, where, and how to mend it; rendered in one way everywhere.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// One problem. Stages return all that they find, never only the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// The file as the user named it. Empty where the problem lies in no file (an argument).
    pub file: String,
    /// Byte range in the file's text.
    pub span: Option<Range<usize>>,
    /// Where in the document: `tasks.clean.with.rules`. Empty for the whole.
    pub path: String,
    /// A lowercase fragment without final period, values in backticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that belong to the problem.
    pub related: Vec<Related>,
}

/// Another place that belongs to a problem, and what it has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    pub file: String,
    pub span: Range<usize>,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// What sort of problem it is; stable, so that people can look it up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// A file that is named does not exist.
    FileNotFound = "file-not-found",
    /// A file exists but can't be read as text.
    FileUnreadable = "file-unreadable",
    FileEmpty = "file-empty",
    FileTooLarge = "file-too-large",
    NotUtf8 = "not-utf8",
    YamlSyntax = "yaml-syntax",
    /// Nested too deep, or aliases that multiply beyond all measure.
    TooComplex = "too-complex",
    DuplicateKey = "duplicate-key",
    /// A key of a mapping that is not a plain word.
    BadKey = "bad-key",
    UnknownKey = "unknown-key",
    MissingKey = "missing-key",
    WrongType = "wrong-type",
    OutOfRange = "out-of-range",
    NotAChoice = "not-a-choice",
    /// A text that is not written as its format wants: a duration, a rate, a date.
    BadFormat = "bad-format",
    BadName = "bad-name",
    BadDataset = "bad-dataset",
    /// A dataset that a task reads, that no task writes and that is not there.
    MissingDataset = "missing-dataset",
    UnknownKind = "unknown-kind",
    UnknownTask = "unknown-task",
    UnknownPort = "unknown-port",
    MissingPort = "missing-port",
    WrongScheme = "wrong-scheme",
    TwoWriters = "two-writers",
    OverlappingPaths = "overlapping-paths",
    Cycle = "cycle",
    /// A way of writing that does not fit the dataset, or lacks what it needs.
    BadWrite = "bad-write",
    BadSchedule = "bad-schedule",
    UnknownProfile = "unknown-profile",
    /// A secret that is written down where it would be stored with every run.
    PlainSecret = "plain-secret",
    ExpressionSyntax = "expression-syntax",
    /// A name in an expression that nothing defines.
    UnknownName = "unknown-name",
    /// An expression that can't be evaluated, or gives what can't be used there.
    ExpressionFailed = "expression-failed",
    /// An expression in a place where none is evaluated.
    ExpressionMisplaced = "expression-misplaced",
    /// `{{ }}` where `${{ }}`, in quotes, was meant.
    UnquotedExpression = "unquoted-expression",
    UnsetVariable = "unset-variable",
    UnknownParam = "unknown-param",
    MissingParam = "missing-param",
    BadParam = "bad-param",
    /// Options that only their kind of task can judge.
    BadOption = "bad-option",
    UnusedParam = "unused-param",
    UnusedDataset = "unused-dataset",
    /// An output that no task reads, while one reads a dataset of a similar name that none writes.
    UnusedOutput = "unused-output",
    /// A defect of tidemill itself.
    Internal = "internal",
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Diagnostic {
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            file: String::new(),
            span: None,
            path: String::new(),
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, message) }
    }

    #[must_use]
    pub fn at(mut self, file: impl Into<String>, span: impl Into<Range<usize>>) -> Self {
        self.file = file.into();
        self.span = Some(span.into());
        self
    }

    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = file.into();
        self
    }

    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// [`Diagnostic::help`], where there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    #[must_use]
    pub fn related(
        mut self,
        file: impl Into<String>,
        span: impl Into<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        self.related.push(Related {
            file: file.into(),
            span: span.into(),
            message: message.into(),
        });
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The texts that diagnostics point into, by file.
pub type Sources = BTreeMap<String, String>;

/// Problems together with the texts that they point into.
#[derive(Clone, Debug)]
pub struct Problems {
    pub diagnostics: Vec<Diagnostic>,
    pub sources: Sources,
}

impl Problems {
    pub fn render(&self, color: bool) -> String {
        render(&self.diagnostics, &self.sources, color)
    }

    /// [`Problems::render`] for a screen: of longer lines, the part around the place is shown.
    pub fn render_on_screen(&self, color: bool, columns: usize) -> String {
        render_with(renderer(color).term_width(columns), &self.diagnostics, &self.sources)
    }
}

/// A problem with its places as lines and columns, for other programs.
#[derive(Clone, Debug, Serialize)]
pub struct Located<'a> {
    pub code: Code,
    pub severity: Severity,
    pub file: &'a str,
    #[serde(flatten)]
    pub place: Option<Place>,
    pub path: &'a str,
    pub message: &'a str,
    pub help: Option<&'a str>,
    pub related: Vec<LocatedRelated<'a>>,
}

/// Another place that belongs to a problem.
#[derive(Clone, Debug, Serialize)]
pub struct LocatedRelated<'a> {
    pub file: &'a str,
    #[serde(flatten)]
    pub place: Option<Place>,
    pub message: &'a str,
}

/// From the first character to the one behind the last; lines and columns count from 1, columns in
/// characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl Problems {
    /// The problems, where they are.
    pub fn located(&self) -> impl Iterator<Item = Located<'_>> {
        let place = |file: &str, span: &Range<usize>| {
            let text = self.sources.get(file)?;
            let (line, column) = line_and_column(text, span.start);
            let (end_line, end_column) = line_and_column(text, span.end.max(span.start));
            Some(Place { line, column, end_line, end_column })
        };
        self.diagnostics.iter().map(move |diagnostic| Located {
            code: diagnostic.code,
            severity: diagnostic.severity,
            file: &diagnostic.file,
            place: diagnostic.span.as_ref().and_then(|span| place(&diagnostic.file, span)),
            path: &diagnostic.path,
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
            related: (diagnostic.related.iter())
                .map(|related| LocatedRelated {
                    file: &related.file,
                    place: place(&related.file, &related.span),
                    message: &related.message,
                })
                .collect(),
        })
    }
}

/// Orders problems by file and place, those without a place last, and drops repeated ones.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        let place = |d: &Diagnostic| {
            (d.span.is_none(), d.span.as_ref().map_or(0, |span| span.start), d.severity)
        };
        (&a.file, place(a)).cmp(&(&b.file, place(b)))
    });
    diagnostics.dedup();
}

/// More problems than these are only counted: nobody reads them before the first ones are mended.
const MOST_RENDERED: usize = 100;

/// The diagnostics as text, each followed by an empty line: what, where with the lines concerned,
/// and what to do.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    render_with(renderer(color), diagnostics, sources)
}

const fn renderer(color: bool) -> Renderer {
    if color { Renderer::styled() } else { Renderer::plain() }
}

fn render_with(renderer: Renderer, diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(MOST_RENDERED) {
        text.push_str(&renderer.render(&[report(diagnostic, sources)]));
        text.push_str("\n\n");
    }
    if diagnostics.len() > MOST_RENDERED {
        text.push_str(&format!("and {} more problems\n\n", diagnostics.len() - MOST_RENDERED));
    }
    // Control characters beyond ASCII, which the renderer lets pass, steer some terminals.
    text.replace(|c: char| ('\u{80}'..='\u{9f}').contains(&c), "\u{fffd}")
}

fn report<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> annotate_snippets::Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code.as_str());
    let mut group = annotate_snippets::Group::with_title(title);
    let main = Mark { span: diagnostic.span.clone(), label: None };
    let mut files = vec![(&diagnostic.file, vec![main])];
    for related in &diagnostic.related {
        let mark = Mark { span: Some(related.span.clone()), label: Some(&related.message) };
        match files.iter_mut().find(|(file, _)| **file == related.file) {
            Some((_, marks)) => marks.push(mark),
            None => files.push((&related.file, vec![mark])),
        }
    }
    for (file, marks) in files {
        if let Some(snippet) = snippet(file, &marks, sources) {
            group = group.element(snippet);
        } else if !file.is_empty() {
            group = group.element(annotate_snippets::Origin::path(file));
        }
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

struct Mark<'a> {
    span: Option<Range<usize>>,
    /// `None` for the place of the problem itself.
    label: Option<&'a str>,
}

/// The lines of a file that the marks lie in. Only these are given to the renderer, which would
/// otherwise read the whole file again for each problem.
fn snippet<'a>(
    file: &'a str,
    marks: &[Mark<'a>],
    sources: &'a Sources,
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let text = sources.get(file)?;
    let spans: Vec<(Range<usize>, Option<&str>)> = marks
        .iter()
        .filter_map(|mark| Some((on_one_line(text, mark.span.clone()?), mark.label)))
        .collect();
    let first = spans.iter().map(|(span, _)| span.start).min()?;
    let last = spans.iter().map(|(span, _)| span.end).max()?;
    let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
    let line = text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1;
    // The renderer would show the first half of a line break of Windows as a sign.
    let lines = match &text[start..end] {
        lines if lines.contains('\r') => Cow::Owned(lines.replace('\r', " ")),
        lines => Cow::Borrowed(lines),
    };
    let mut snippet = Snippet::source(lines).path(file).line_start(line);
    for (span, label) in spans {
        let kind = if label.is_none() { AnnotationKind::Primary } else { AnnotationKind::Context };
        let annotation = kind.span(span.start - start..span.end - start);
        snippet = snippet.annotation(match label {
            Some(label) => annotation.label(label),
            None => annotation,
        });
    }
    Some(snippet)
}

/// The part of a span that lies on its first line, within the text and between characters.
fn on_one_line(text: &str, span: Range<usize>) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (boundary(span.start), boundary(span.end.max(span.start)));
    let line_end = text[start..end].find(['\n', '\r']).map_or(end, |newline| start + newline);
    start..line_end
}

/// Line and column, both counted from 1, of a byte offset.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..on_one_line(text, offset..offset).start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_a_compiler() {
        let text = "name: a\ntasks:\n  b: {uses: nope}\n";
        let sources = Sources::from([("p.yaml".to_owned(), text.to_owned())]);
        let diagnostic = Diagnostic::error(Code::UnknownKind, "there is no kind `nope`")
            .at("p.yaml", 27..31)
            .help("did you mean `noop`?")
            .related("p.yaml", 17..18, "of this task");
        let expect = "\
error[unknown-kind]: there is no kind `nope`
 --> p.yaml:3:13
  |
3 |   b: {uses: nope}
  |   -         ^^^^
  |   |
  |   of this task
  |
  = help: did you mean `noop`?

";
        assert_eq!(render(&[diagnostic], &sources, false), expect);
    }

    #[test]
    fn places_outside_the_text_are_moved_into_it() {
        let sources = Sources::from([("p".to_owned(), "é".to_owned())]);
        for span in [0..1, 1..2, 1..9, 7..9] {
            let diagnostic = Diagnostic::error(Code::YamlSyntax, "odd").at("p", span);
            assert!(render(&[diagnostic], &sources, true).contains("odd"));
        }
    }

    #[test]
    fn other_programs_get_lines_and_columns() {
        let problems = Problems {
            diagnostics: vec![
                Diagnostic::error(Code::UnknownKind, "no `é`").at("p", 5..7).help("use `e`"),
                Diagnostic::warning(Code::UnusedParam, "nobody reads it"),
            ],
            sources: Sources::from([("p".to_owned(), "a: 1\né: 2\n".to_owned())]),
        };
        let located: Vec<_> = problems.located().collect();
        assert_eq!(
            located[0].place,
            Some(Place { line: 2, column: 1, end_line: 2, end_column: 2 })
        );
        let json = serde_json::to_value(&located[1]).unwrap();
        assert_eq!(json["code"], "unused-param");
        assert_eq!(json["severity"], "warning");
        assert_eq!(json.get("line"), None);
    }

    #[test]
    fn codes_are_distinct() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
