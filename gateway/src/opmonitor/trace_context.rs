//! Which trace an exchange is part of, as its headers say it.
//!
//! Specification: W3C Trace Context, 3.2 `traceparent`, 3.3 `tracestate`. Not here: spans ([`super::traces`]).

use bytes::Bytes;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// The longest `tracestate` that is kept: what is longer may be dropped.
const LONGEST_STATE: usize = 512;

/// The trace of an exchange, and our own span in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that ours is part of; none when the trace begins with us.
    pub parent: Option<[u8; 8]>,
    /// Our own span.
    pub span: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// What others want to have passed on.
    pub state: Option<String>,
}

impl TraceContext {
    /// The trace that headers name, or a new one; none without chance.
    pub fn of(headers: &[(Bytes, Bytes)]) -> Option<Self> {
        let span = cert_authority::crypto::random_array().ok()?;
        match parent(headers) {
            Some((_, (trace, parent, sampled))) => {
                Some(Self { trace, parent: Some(parent), span, sampled, state: read_state(headers) })
            }
            None => {
                let trace = cert_authority::crypto::random_array().ok()?;
                Some(Self { trace, parent: None, span, sampled: true, state: None })
            }
        }
    }

    /// The headers that tell it onwards, with our span as the parent of what follows.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let (trace, span) = (hex::encode(self.trace), hex::encode(self.span));
        let parent = format!("00-{trace}-{span}-{:02x}", u8::from(self.sampled));
        [(PARENT, parent)].into_iter().chain(self.state.clone().map(|state| (STATE, state)))
    }
}

/// What headers say of a trace, to be told onwards as it is; nothing that is none.
pub fn passed_on(headers: &[(Bytes, Bytes)]) -> Vec<(&'static str, String)> {
    let Some((parent, _)) = parent(headers) else { return Vec::new() };
    [(PARENT, parent.to_owned())].into_iter().chain(read_state(headers).map(|state| (STATE, state))).collect()
}

/// The headers that say something of a trace.
pub fn among(headers: &[(Bytes, Bytes)]) -> Vec<(Bytes, Bytes)> {
    let ours = |name: &[u8]| [PARENT, STATE].iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    headers.iter().filter(|(name, _)| ours(name)).cloned().collect()
}

type Parent = ([u8; 16], [u8; 8], bool);

/// The one parent that is named. Two are none.
fn parent(headers: &[(Bytes, Bytes)]) -> Option<(&str, Parent)> {
    let mut named = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(PARENT.as_bytes()));
    let (Some((_, value)), None) = (named.next(), named.next()) else { return None };
    let text = std::str::from_utf8(value).ok()?.trim();
    Some((text, read_parent(text)?))
}

/// `00-<trace>-<span>-<flags>`; of a later version what it begins with.
fn read_parent(text: &str) -> Option<Parent> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let [version] = array(version)?;
    let (trace, span, [flags]) = (array(trace)?, array(span)?, array(flags)?);
    let known = version != 0xff && (version > 0 || fields.next().is_none());
    (known && trace != [0; 16] && span != [0; 8]).then_some((trace, span, flags & 1 == 1))
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

fn read_state(headers: &[(Bytes, Bytes)]) -> Option<String> {
    let named = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(STATE.as_bytes()));
    let values: Option<Vec<&str>> = named.map(|(_, value)| std::str::from_utf8(value).ok()).collect();
    let state = values?.join(",");
    let fits = !state.is_empty() && state.len() <= LONGEST_STATE;
    (fits && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(named: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        named
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            .collect()
    }

    fn of(named: &[(&'static str, &'static str)]) -> TraceContext {
        TraceContext::of(&headers(named)).unwrap()
    }

    #[test]
    fn what_is_named_is_gone_on_with_and_told_onwards() {
        let given = [("TraceParent", GIVEN), ("tracestate", "a=1"), ("tracestate", "b=2")];
        let expected = [("traceparent", GIVEN.to_owned()), ("tracestate", "a=1,b=2".to_owned())];
        assert_eq!(passed_on(&headers(&given)), expected);
        let context = of(&[("TraceParent", GIVEN), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(hex::encode(context.trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent.map(hex::encode).as_deref(), Some("b7ad6b7169203331"));
        let told: Vec<_> = context.headers().collect();
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", hex::encode(context.span));
        assert_eq!(told, [("traceparent", expected), ("tracestate", "a=1,b=2".to_owned())]);
        assert_ne!(context.parent, Some(context.span));
    }

    #[test]
    fn a_trace_that_is_not_recorded_stays_so() {
        assert!(!of(&[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]).sampled);
    }

    #[test]
    fn what_is_no_traceparent_begins_a_new_trace() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            let context = of(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert_eq!((context.parent, context.state), (None, None), "{bad}");
            assert!(passed_on(&headers(&[("traceparent", bad)])).is_empty(), "{bad}");
        }
        assert_eq!(of(&[("traceparent", GIVEN), ("traceparent", GIVEN)]).parent, None);
        assert!(
            of(&[("traceparent", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x")])
                .parent
                .is_some()
        );
    }
}
