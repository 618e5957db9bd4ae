//! Explanations on the private listener: of a call that says `Prefer: dry-run`, and of one that is
//! pasted into `POST /v1/explain`. Nothing is sent and nothing is used up.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, StatusCode, Version};

use crate::caller::App;
use crate::card::Timestamp;
use crate::flow::{Explanation, Forwarded, Incoming, Pasted, Place};

use super::desk::Call;
use super::fields::Fields;
use super::message::{Caps, Head, Refusal as CodecRefusal, Reply, Request};
use super::prefer::{APPLIED, APPLIED_DRY_RUN};
use super::private::{Private, client_names, incoming, pattern, refuse};
use super::{reply, target};

/// Bytes of body that `POST /v1/explain` accepts: those of a usual call, escaped once more.
pub(super) const PASTED_BODY: usize = 256 * 1024;

/// The name under which explanations are counted and logged, whatever route they are about.
pub(super) const NAME: &str = "explain";

/// Where a call is pasted.
pub(super) const PATH: &str = "/v1/explain";

/// An application's own key. Shown with the call it counts as the pasted request's.
const KEY: HeaderName = HeaderName::from_static("portcullis-key");

impl Private {
    /// A gateway call that is to be explained.
    pub(super) fn explain_call(&self, request: Request) -> Reply {
        let Request { head, body } = request;
        let mut call = self.begin(NAME, Some(&head));
        if let Ok(place) = self.0.flow.place(&head.method, &head.path) {
            call.route(|| pattern(place).into());
        }
        let incoming = incoming(&head, body);
        self.explain(&incoming, head.version, call)
    }

    /// A pasted call.
    pub(super) fn explain_pasted(&self, request: &Request) -> Reply {
        let (head, mut call) = (&request.head, self.begin(NAME, Some(&request.head)));
        call.route(|| PATH.into());
        let pasted = match Pasted::read(&head.headers, &request.body) {
            Ok(pasted) => pasted,
            Err(refusal) => {
                let refused = refuse(&refusal, head.version, &mut call);
                return self.end(call, refused);
            }
        };
        let read = target::parse(&pasted.target).and_then(|target| {
            let fits = pasted.target.len() <= Caps::default().target;
            let target = if fits { Ok(target) } else { Err(CodecRefusal::TargetTooLong) };
            Ok((target?, fields_of(pasted.headers, head)?))
        });
        let read = read.and_then(|(target, fields)| {
            let place = self.0.flow.place(&pasted.method, target.path).ok();
            let fits = place.is_none_or(|place| pasted.body.len() <= place.route.body_limit);
            if fits { Ok((target, fields)) } else { Err(CodecRefusal::BodyTooLarge) }
        });
        let (target, fields) = match read {
            Ok(read) => read,
            Err(refusal) => {
                let refused = reply::codec(refusal, &call.id);
                let refused = call.refuse(refused).closing();
                return self.end(call, refused);
            }
        };
        let incoming = Incoming {
            method: &pasted.method,
            path: target.path,
            query: target.query,
            headers: &fields.map,
            client_names: client_names(head),
            body: pasted.body,
        };
        self.explain(&incoming, head.version, call)
    }

    fn explain(&self, incoming: &Incoming<'_>, version: Version, mut call: Call) -> Reply {
        let allow = |app: &App, place: Place<'_>| {
            call.app = Some(app.tenant.clone());
            call.account = Some(Arc::clone(&place.account.name));
            self.allow(app.tenant.as_str(), place)
        };
        let mut reply = match self.0.flow.explain(incoming, allow, Timestamp::system()) {
            Ok(explanation) => explained(explanation, version, &mut call),
            Err(refusal) => refuse(&refusal, version, &mut call),
        };
        reply.headers.insert(APPLIED, APPLIED_DRY_RUN);
        self.end(call, reply)
    }
}

/// What the codec makes of the fields; framing is the paste's own, and so is the host.
fn fields_of(
    pasted: Vec<(HeaderName, http::HeaderValue)>,
    head: &Head,
) -> Result<Fields, CodecRefusal> {
    let mut fields = Fields::with_capacity(pasted.len());
    let ours = [CONTENT_LENGTH, TRANSFER_ENCODING, HOST];
    if pasted.len() > Caps::FIELDS_MAX {
        return Err(CodecRefusal::TooManyFields);
    }
    for (name, value) in pasted.into_iter().filter(|(name, _)| !ours.contains(name)) {
        fields.take(name, value)?;
    }
    if let Some(refusal) = fields.reserved {
        return Err(refusal);
    }
    if let Some(key) = head.headers.get(KEY)
        && !fields.map.contains_key(KEY)
    {
        fields.take(KEY, key.clone())?;
    }
    Ok(fields)
}

/// The explanation, or that it cannot be shown. A guess is a guess, explained or not.
fn explained(explanation: Explanation, version: Version, call: &mut Call) -> Reply {
    let mut close = false;
    let refused = explanation.refusal().map(|refusal| {
        close = version == Version::HTTP_2 && refusal.may_hide_a_card();
        reply::refused(refusal, &call.id)
    });
    call.guess = refused.as_ref().is_some_and(|refused| refused.guess);
    let problem = refused.map(|refused| refused.reply.body).unwrap_or_default();
    match explanation.into_json(&problem) {
        Ok(json) => {
            call.code = "explained";
            call.forwarded = Some(Forwarded::No.as_str());
            let mut reply = reply::json(StatusCode::OK, json);
            reply.notes.forwarded = call.forwarded;
            reply.close = close;
            reply
        }
        Err(refusal) => refuse(&refusal, version, call),
    }
}
