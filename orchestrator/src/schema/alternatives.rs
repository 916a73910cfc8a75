//! Choosing which of several alternatives was meant, so that what is reported is what its writer
//! got wrong, not that nothing fits.

use super::check::{Walk, admits};
use super::{Rule, Schema, Type};
use crate::diagnostic::Code;
use crate::yaml::{Entry, Node, Span, Tree};
use serde_json::Value;

impl<'a> Walk<'a> {
    pub(super) fn alternatives(&mut self, rule: &Rule, node: &'a Node, span: Span) {
        let schema = self.schema;
        let fitting: Vec<usize> =
            rule.any_of.iter().copied().filter(|at| schema.may_hold(*at, node)).collect();
        match fitting.as_slice() {
            [] => {
                let mut types = Vec::new();
                rule.any_of.iter().for_each(|at| schema.collect_types(*at, &mut types));
                // Of an optional value, what is there if it is there says what was expected.
                let only_null =
                    |at: &&usize| schema.rules[**at].types.as_deref() == Some(&[Type::Null]);
                let mut real = rule.any_of.iter().filter(|at| !only_null(at));
                let said = match (real.next(), real.next()) {
                    (Some(one), None) => &schema.rules[*one],
                    _ => rule,
                };
                self.wrong_type(said, &types, node, span);
            }
            [one] => self.node(*one, node, span),
            several => {
                if let Tree::Map(entries) = &node.tree
                    && self.by_key(several, entries, node, span)
                {
                    return;
                }
                self.best(several, node, span);
            }
        }
    }

    /// Chooses among mappings by a key that tells them apart: one whose value is fixed in each, or
    /// one that each requires. False if there is none.
    fn by_key(
        &mut self,
        several: &[usize],
        entries: &'a [Entry],
        node: &'a Node,
        span: Span,
    ) -> bool {
        let schema = self.schema;
        let Some(tag) = schema.tag(several) else {
            let wanted = several.iter().find(|at| {
                let required = &schema.rules[**at].required;
                !required.is_empty()
                    && required.iter().all(|name| entries.iter().any(|entry| entry.key == *name))
            });
            if let Some(at) = wanted {
                self.node(*at, node, span);
            }
            return wanted.is_some();
        };
        let Some((index, entry)) = entries.iter().enumerate().find(|(_, e)| e.key == tag) else {
            let message = format!("{} has no `{tag}`", self.subject());
            let all = several.iter().flat_map(|at| schema.fixed(*at, &tag));
            let all: Vec<&str> = all.filter_map(Value::as_str).collect();
            let help = format!("add `{tag}:` with `{}`", all.join("` or `"));
            self.report(Code::MissingKey, span, message, Some(help));
            return true;
        };
        let value = entry.node.to_value();
        let chosen = several.iter().find(|at| schema.fixed(**at, &tag).contains(&value));
        match chosen {
            Some(at) => self.node(*at, node, span),
            None => {
                let all: Vec<Value> =
                    several.iter().flat_map(|at| schema.fixed(*at, &tag).to_vec()).collect();
                self.path.push(tag.into());
                self.trail.push(index);
                self.not_a_choice(&all, &entry.node, entry.value_span());
                self.trail.pop();
                self.path.pop();
            }
        }
        true
    }

    /// Takes the alternative with the fewest problems.
    fn best(&mut self, several: &[usize], node: &'a Node, span: Span) {
        let tried = several.iter().map(|at| {
            let mut walk = Walk {
                schema: self.schema,
                file: self.file,
                whole: self.whole,
                root: self.root,
                path: self.path.clone(),
                trail: self.trail.clone(),
                found: super::Findings::default(),
            };
            walk.node(*at, node, span);
            walk.found
        });
        if let Some(found) = tried.min_by_key(|found| found.diagnostics.len()) {
            self.found.diagnostics.extend(found.diagnostics);
            self.found.bad.extend(found.bad);
        }
    }
}

impl Schema {
    /// Whether a rule admits the type of a node.
    fn may_hold(&self, at: usize, node: &Node) -> bool {
        let rule = &self.rules[at];
        let types =
            rule.types.as_ref().is_none_or(|types| types.iter().any(|one| admits(*one, node)));
        // A number with a fraction where only whole ones fit is best reported as that.
        let numbers = matches!(node.tree, Tree::Number(_))
            && rule.types.as_ref().is_some_and(|types| types.contains(&Type::Integer));
        let any = rule.any_of.is_empty() || rule.any_of.iter().any(|at| self.may_hold(*at, node));
        (types || numbers) && any && rule.all_of.iter().all(|at| self.may_hold(*at, node))
    }

    fn collect_types(&self, at: usize, types: &mut Vec<Type>) {
        let rule = &self.rules[at];
        for one in rule.types.iter().flatten() {
            if !types.contains(one) {
                types.push(*one);
            }
        }
        rule.any_of.iter().chain(&rule.all_of).for_each(|at| self.collect_types(*at, types));
    }

    /// The key whose value is fixed in each of the rules.
    fn tag(&self, rules: &[usize]) -> Option<String> {
        let (first, rest) = rules.split_first()?;
        let first = &self.rules[*first].properties;
        first
            .iter()
            .map(|(name, _)| name)
            .find(|name| {
                let fixed = |at: &usize| !self.fixed(*at, name).is_empty();
                rules.first().is_some_and(fixed) && rest.iter().all(fixed)
            })
            .cloned()
    }

    /// The values that a rule's property is fixed to.
    fn fixed(&self, at: usize, name: &str) -> &[Value] {
        let property = self.rules[at].properties.iter().find(|(key, _)| key == name);
        property.and_then(|(_, at)| self.rules[*at].choices.as_deref()).unwrap_or_default()
    }
}
