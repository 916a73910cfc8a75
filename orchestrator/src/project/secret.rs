//! Secrets in the project file: they are named, never written down, since the file's text is
//! stored with every run.

use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{self, Entry, Node, Tree};
use std::ops::Range;

/// How names of settings end whose values are secrets.
const ENDS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "key.pem"];

/// A problem for each secret that is written down in a profile.
pub(super) fn check(file: &str, tree: &Node) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    each(tree, &mut |entry| {
        let name = &entry.key;
        let help = format!(
            "keep it in the environment, as in `{name}: {{env: NAME}}`, or in a file, as in \
             `{name}: {{file: PATH}}`"
        );
        let message = format!("the value of `{name}` is a secret, and would be stored with runs");
        problems.push(
            Diagnostic::error(Code::PlainSecret, message).at(file, entry.key_span).help(help),
        );
    });
    problems
}

/// The text as it may be shown: without the values of secrets that are written down. Of one that
/// can't be read, nothing is shown behind the first word that looks like a secret's name.
pub(super) fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut mask = |span: Range<usize>| {
        bytes[span].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    };
    match yaml::parse("", text) {
        Ok((tree, _)) => each(&tree, &mut |entry| {
            mask(entry.node.span.start as usize..entry.node.span.end as usize);
        }),
        Err(_) => {
            let lower = text.to_ascii_lowercase();
            let first = ENDS.iter().filter_map(|end| Some(lower.find(end)? + end.len())).min();
            mask(first.unwrap_or(text.len())..text.len());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn each(tree: &Node, visit: &mut dyn FnMut(&Entry)) {
    match &tree.tree {
        Tree::Map(entries) => {
            for entry in entries {
                let plain = matches!(entry.node.tree, Tree::Text(_) | Tree::Number(_));
                if plain && is_secret(&entry.key) {
                    visit(entry);
                }
                each(&entry.node, visit);
            }
        }
        Tree::List(items) => items.iter().for_each(|item| each(item, visit)),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::render;

    #[test]
    fn a_secret_that_is_written_down_is_refused_and_never_shown() {
        let check = |text: &str| {
            let (tree, _) = yaml::parse("t.yaml", text).unwrap();
            let sources = [("t.yaml".to_owned(), masked(text))].into();
            render(&check("t.yaml", &tree), &sources, false)
        };
        let block = "profiles:\n  p:\n    kafka:\n      options:\n        sasl.password: hunter2\n";
        let shown = check(block);
        assert!(shown.contains("t.yaml:5:9") && shown.contains("`sasl.password: {env: NAME}`"));
        assert!(shown.contains("sasl.password: *******") && !shown.contains("hunter2"), "{shown}");
        let flow = "profiles: {p: {x: {SSL.Key.PEM: \"hunter2 é\"}, y: [{client.secret: 25}]}}";
        let shown = check(flow);
        assert!(!shown.contains("hunter2") && !shown.contains("25"), "{shown}");
        assert_eq!(shown.matches("error[plain-secret]").count(), 2, "{shown}");
        for fine in ["{password: {env: P}}", "{a: {token: {file: f}}}", "{password.file: /x}"] {
            assert_eq!(check(fine), "", "{fine}");
            assert_eq!(masked(fine), fine);
        }
    }

    #[test]
    fn nothing_is_shown_behind_a_secret_of_a_text_that_can_not_be_read() {
        for broken in ["a: [1\nx.Password: hunter2\ny: é", "a:\n  key\n Token hunter2 : {"] {
            let problem = yaml::parse("t.yaml", broken).unwrap_err();
            let sources = [("t.yaml".to_owned(), masked(broken))].into();
            let shown = render(&[*problem], &sources, false);
            assert!(shown.contains("error[yaml-syntax]") && !shown.contains("hunter2"), "{shown}");
        }
        assert_eq!(masked("a: [1\nb: 2"), "a: [1\nb: 2");
    }
}
