//! OpenAPI 3.0 and 3.1, in JSON or YAML: which endpoints a document describes.
//!
//! Nothing but version, servers and paths is looked at: an odd schema is no reason to refuse a service. A path item may
//! be a reference within the document; one to another document is an error, for its endpoints are not known.
//!
//! Specification: OpenAPI 3.0.4 and 3.1.1; PR-MREST (`getOpenAPI`).
//!
//! # Compatibility
//! As X-Road: in a segment everything from the first `{` to the last `}` becomes `*`. Stricter: a path that stands twice
//! is refused, in JSON too. More lenient: every 3.1.x is read, and references between path items are followed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_saphyr::{Error as YamlError, Spanned};

use super::{DescriptionError, Endpoint, LIMITS};

/// A path item may refer to another, and so on, so often.
const MAX_REFERENCES: usize = 16;

/// A document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenApi {
    /// As it says: `3.0.3`.
    pub version: String,
    /// How it is written.
    pub format: Format,
    /// The address of its first server, as it stands there: it may be relative or hold variables.
    pub server: Option<String>,
    /// In its order, each once.
    pub endpoints: Vec<Endpoint>,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// The media type to send it with.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/x-yaml",
        }
    }

    /// JSON begins with a brace. (YAML may too; whoever writes it so writes JSON.)
    fn of(text: &str) -> Self {
        if text.trim_start().starts_with('{') { Self::Json } else { Self::Yaml }
    }
}

/// Reads a document.
///
/// # Errors
/// [`DescriptionError`].
pub fn read(bytes: &[u8]) -> Result<OpenApi, DescriptionError> {
    let text = text(bytes)?;
    let format = Format::of(text);
    let document: Document = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| json(&error))?,
        Format::Yaml => serde_saphyr::from_str_with_options(text, options()).map_err(|error| yaml(&error))?,
    };
    let version = document.version()?;
    let mut endpoints = Vec::new();
    let mut seen = HashSet::new();
    for (path, item) in document.paths.iter() {
        for method in document.methods(path, item)? {
            let endpoint = Endpoint { method: method.to_uppercase(), path: pattern(path) };
            if seen.insert(endpoint.clone()) {
                endpoints.push(endpoint);
            }
        }
    }
    let server = document.servers.into_iter().next().and_then(|server| server.url);
    Ok(OpenApi { version, format, server, endpoints })
}

/// The document with nothing but the path left of each server's address; every other byte is as it was. An address with
/// variables is left alone, as with X-Road.
///
/// # Errors
/// [`DescriptionError`].
pub fn without_hosts(bytes: &[u8]) -> Result<Vec<u8>, DescriptionError> {
    read(bytes)?;
    let text = text(bytes)?;
    let format = Format::of(text);
    let mut changed = String::with_capacity(text.len());
    let mut from = 0;
    let mut expected = Vec::new();
    for (place, url) in servers(text, format)? {
        let Some(path) = path_of(&url) else {
            expected.push(url);
            continue;
        };
        changed.push_str(text.get(from..place.start).unwrap_or_default());
        // A string of JSON is one of YAML.
        changed.push_str(&serde_json::Value::from(path).to_string());
        from = place.end;
        expected.push(path.to_owned());
    }
    changed.push_str(text.get(from..).unwrap_or_default());
    // YAML has ways to write an address that cannot be replaced in place: as a block, or by an alias.
    let reread =
        servers(&changed, format).map(|servers| servers.into_iter().map(|(_, url)| url).collect::<Vec<_>>());
    if reread.as_ref() != Ok(&expected) {
        return Err(DescriptionError::Malformed(
            "the addresses of its servers are not written in place".to_owned(),
        ));
    }
    Ok(changed.into_bytes())
}

fn text(bytes: &[u8]) -> Result<&str, DescriptionError> {
    if bytes.len() > LIMITS.max_bytes {
        return Err(DescriptionError::TooLarge(LIMITS.max_bytes));
    }
    let text = std::str::from_utf8(bytes).map_err(|_invalid| DescriptionError::Encoding)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Where the addresses of the servers stand, and what they are.
fn servers(text: &str, format: Format) -> Result<Vec<(Range<usize>, String)>, DescriptionError> {
    match format {
        Format::Json => {
            let read: Servers<&RawValue> = serde_json::from_str(text).map_err(|error| json(&error))?;
            let each = read.servers.into_iter().filter_map(|server| server.url).map(|url| {
                let raw = url.get();
                let from = raw.as_ptr().addr().saturating_sub(text.as_ptr().addr());
                let url = serde_json::from_str(raw).map_err(|error| json(&error))?;
                Ok((from..from.saturating_add(raw.len()), url))
            });
            each.collect()
        }
        Format::Yaml => {
            let read: Servers<Spanned<String>> =
                serde_saphyr::from_str_with_options(text, options()).map_err(|error| yaml(&error))?;
            let each = read.servers.into_iter().filter_map(|server| server.url).map(|url| {
                let span = url.referenced.span();
                let place = span.byte_offset().zip(span.byte_len()).and_then(|(from, length)| {
                    let from = usize::try_from(from).ok()?;
                    Some(from..from.checked_add(usize::try_from(length).ok()?)?)
                });
                let nowhere = || DescriptionError::Malformed("an address without a place".to_owned());
                Ok((place.ok_or_else(nowhere)?, url.value))
            });
            each.collect()
        }
    }
}

/// The path of an address that holds no variables.
fn path_of(url: &str) -> Option<&str> {
    if url.contains('{') && url.contains('}') {
        return None;
    }
    let after_host = match url.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
            rest.get(rest.find(['/', '?', '#']).unwrap_or(rest.len())..).unwrap_or_default()
        }
        _ => url,
    };
    after_host.split(['?', '#']).next()
}

/// A path template as a pattern of paths.
fn pattern(path: &str) -> String {
    let segments = path.split('/').map(|segment| match (segment.find('{'), segment.rfind('}')) {
        (Some(first), Some(last)) if first < last => {
            let around = (segment.get(..first), segment.get(last..).and_then(|rest| rest.get(1..)));
            format!("{}*{}", around.0.unwrap_or_default(), around.1.unwrap_or_default())
        }
        _ => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn json(error: &serde_json::Error) -> DescriptionError {
    DescriptionError::Malformed(error.to_string())
}

fn yaml(error: &YamlError) -> DescriptionError {
    let mut cause = error.without_snippet();
    let reason = cause.to_string();
    while let YamlError::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    match cause {
        YamlError::Budget { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => DescriptionError::TooInvolved(reason),
        _ => DescriptionError::Malformed(reason),
    }
}

/// The library's own limits stop alias bombs and deep nesting; a document of 10 MiB needs more than they allow for.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: 128,
            max_events: 4_000_000,
            max_nodes: 2_000_000,
        },
        with_snippet: false,
    }
}

#[derive(Deserialize)]
struct Document {
    openapi: Option<String>,
    swagger: Option<String>,
    #[serde(default = "Vec::new")]
    servers: Vec<Server<String>>,
    #[serde(default)]
    paths: PathItems,
    #[serde(default)]
    components: Components,
}

#[derive(Deserialize)]
struct Servers<T> {
    #[serde(default = "Vec::new")]
    servers: Vec<Server<T>>,
}

#[derive(Deserialize)]
struct Server<T> {
    /// It may not be missing, but it is.
    url: Option<T>,
}

#[derive(Default, Deserialize)]
struct Components {
    #[serde(default, rename = "pathItems")]
    path_items: PathItems,
}

#[derive(Default)]
struct PathItems {
    /// In the order of the document.
    names: Vec<String>,
    items: HashMap<String, PathItem>,
}

impl PathItems {
    fn iter(&self) -> impl Iterator<Item = (&str, &PathItem)> {
        self.names.iter().filter_map(|name| Some((name.as_str(), self.items.get(name)?)))
    }
}

#[derive(Default)]
struct PathItem {
    reference: Option<String>,
    methods: Vec<String>,
}

impl Document {
    fn version(&self) -> Result<String, DescriptionError> {
        let readable = |version: &str| {
            ["3.0", "3.1"].iter().any(|known| {
                version.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let found = match (&self.openapi, &self.swagger) {
            (Some(version), _) if readable(version) => return Ok(version.clone()),
            (Some(version), _) => format!("OpenAPI {version}"),
            (None, Some(version)) => format!("Swagger {version}"),
            (None, None) => "another language".to_owned(),
        };
        Err(DescriptionError::Version { expected: "OpenAPI 3.0 or 3.1", found })
    }

    /// The methods of a path item and of those that it refers to.
    fn methods<'a>(&'a self, path: &str, item: &'a PathItem) -> Result<Vec<&'a str>, DescriptionError> {
        let mut methods: Vec<&str> = Vec::new();
        let mut item = item;
        for _ in 0..=MAX_REFERENCES {
            methods.extend(item.methods.iter().map(String::as_str));
            let Some(reference) = &item.reference else { return Ok(methods) };
            if !reference.starts_with('#') {
                let reference = reference.clone();
                return Err(DescriptionError::Elsewhere { place: format!("the path {path}"), reference });
            }
            item = self.find(reference).ok_or_else(|| DescriptionError::Reference(reference.clone()))?;
        }
        Err(DescriptionError::Reference(item.reference.clone().unwrap_or_default()))
    }

    /// What a JSON pointer to a path item leads to.
    fn find(&self, reference: &str) -> Option<&PathItem> {
        let paths = reference.strip_prefix("#/paths/").map(|name| (&self.paths, name));
        let shared =
            || reference.strip_prefix("#/components/pathItems/").map(|n| (&self.components.path_items, n));
        let (items, name) = paths.or_else(shared)?;
        let name = percent_decode_str(name).decode_utf8().ok()?.replace("~1", "/").replace("~0", "~");
        items.items.get(&name)
    }
}

impl<'de> Deserialize<'de> for PathItems {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = PathItems;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("path items")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathItems, A::Error> {
                let mut read = PathItems::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name.starts_with("x-") {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if read.items.insert(name.clone(), map.next_value()?).is_some() {
                        return Err(A::Error::custom(format!("{name} stands there twice")));
                    }
                    read.names.push(name);
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Items)
    }
}

impl<'de> Deserialize<'de> for PathItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Item;
        impl<'de> Visitor<'de> for Item {
            type Value = PathItem;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path item")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathItem, A::Error> {
                let mut item = PathItem::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "$ref" => item.reference = Some(map.next_value()?),
                        "get" | "put" | "post" | "delete" | "options" | "head" | "patch" | "trace" => {
                            map.next_value::<IgnoredAny>()?;
                            item.methods.push(key);
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(item)
            }
        }
        deserializer.deserialize_map(Item)
    }
}

#[cfg(test)]
mod tests;
