//! The rules of the comparison: every kind of change, what it does to the valid messages, and the verdict
//! that follows. `docs/spec-diff.md` is printed from this table.

use std::fmt;

use serde::Serialize;

use Effect::{Each, Known, Narrower, Other, Wider};
use Verdict::{Additive, Breaking, Docs};

/// The effect of a change on a caller that was written for the old description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Only the documentation changes.
    Docs,
    /// The caller is not affected.
    Additive,
    /// The caller may send invalid requests, or receive responses that it does not expect.
    Breaking,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Docs => "docs",
            Self::Additive => "additive",
            Self::Breaking => "breaking",
        })
    }
}

/// Who sends the changed part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The caller sends it.
    Request,
    /// The caller receives it.
    Response,
    /// It is not part of a message.
    Operation,
}

/// What a change does to the set of valid values, and so which verdict follows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// More values are valid.
    Wider,
    /// Fewer values are valid.
    Narrower,
    /// Some values became valid, and others invalid.
    Other,
    /// One verdict for both directions.
    Known(Verdict, &'static str),
    /// A verdict for requests, and one for responses.
    Each((Verdict, &'static str), (Verdict, &'static str)),
}

macro_rules! changes {
    ($($variant:ident $where:ident $name:literal $what:literal $effect:expr;)*) => {
        /// A kind of change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Change { $(#[doc = $what] $variant),* }

        impl Change {
            /// Every kind, in the order of the document.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The row of the table: where it applies, name, what changed, effect.
            fn row(self) -> (Where, &'static str, &'static str, Effect) {
                match self { $(Self::$variant => (Where::$where, $name, $what, $effect)),* }
            }
        }
    };
}

/// Where a kind of change can be found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// In schemas and media types, which are sent and received.
    Both,
    Request,
    Operation,
}

changes! {
    TypeWidened Both "type-widened" "another type is allowed" Wider;
    TypeNarrowed Both "type-narrowed" "a type is not allowed any more" Narrower;
    TypeChanged Both "type-changed" "the type is another one" Other;
    NullAllowed Both "null-allowed" "null is allowed" Wider;
    NullForbidden Both "null-forbidden" "null is not allowed any more" Narrower;
    EnumAdded Both "enum-added" "there is a list of allowed values now" Narrower;
    EnumRemoved Both "enum-removed" "the list of allowed values was removed" Wider;
    EnumValueAdded Both "enum-value-added" "values were added" Wider;
    EnumValueRemoved Both "enum-value-removed" "values were removed" Narrower;
    OpenEnumValueAdded Both "open-enum-value-added" "values were added to the open list (x-extensible-enum)"
        Known(Additive, "callers of an open list must accept unknown values");
    OpenEnumValueRemoved Both "open-enum-value-removed"
        "values were removed from the open list (x-extensible-enum)" Narrower;
    FormatAdded Both "format-added" "there is a format now" Narrower;
    FormatRemoved Both "format-removed" "the format was removed" Wider;
    FormatWidened Both "format-widened" "the format allows more values" Wider;
    FormatNarrowed Both "format-narrowed" "the format allows fewer values" Narrower;
    FormatChanged Both "format-changed" "the format is another one" Other;
    PatternAdded Both "pattern-added" "there is a pattern now" Narrower;
    PatternRemoved Both "pattern-removed" "the pattern was removed" Wider;
    PatternChanged Both "pattern-changed" "the pattern is another one" Other;
    MaxAdded Both "max-added" "there is a maximum now" Narrower;
    MaxRemoved Both "max-removed" "the maximum was removed" Wider;
    MaxIncreased Both "max-increased" "the maximum is higher" Wider;
    MaxDecreased Both "max-decreased" "the maximum is lower" Narrower;
    MinAdded Both "min-added" "there is a minimum now" Narrower;
    MinRemoved Both "min-removed" "the minimum was removed" Wider;
    MinIncreased Both "min-increased" "the minimum is higher" Narrower;
    MinDecreased Both "min-decreased" "the minimum is lower" Wider;
    MaxLengthAdded Both "max-length-added" "there is a maximum length now" Narrower;
    MaxLengthRemoved Both "max-length-removed" "the maximum length was removed" Wider;
    MaxLengthIncreased Both "max-length-increased" "the maximum length is higher" Wider;
    MaxLengthDecreased Both "max-length-decreased" "the maximum length is lower" Narrower;
    MinLengthAdded Both "min-length-added" "there is a minimum length now" Narrower;
    MinLengthRemoved Both "min-length-removed" "the minimum length was removed" Wider;
    MinLengthIncreased Both "min-length-increased" "the minimum length is higher" Narrower;
    MinLengthDecreased Both "min-length-decreased" "the minimum length is lower" Wider;
    MaxItemsAdded Both "max-items-added" "there is a maximum number of items now" Narrower;
    MaxItemsRemoved Both "max-items-removed" "the maximum number of items was removed" Wider;
    MaxItemsIncreased Both "max-items-increased" "more items are allowed" Wider;
    MaxItemsDecreased Both "max-items-decreased" "fewer items are allowed" Narrower;
    MinItemsAdded Both "min-items-added" "there is a minimum number of items now" Narrower;
    MinItemsRemoved Both "min-items-removed" "the minimum number of items was removed" Wider;
    MinItemsIncreased Both "min-items-increased" "more items are required" Narrower;
    MinItemsDecreased Both "min-items-decreased" "fewer items are required" Wider;
    MaxPropertiesAdded Both "max-properties-added" "there is a maximum number of fields now" Narrower;
    MaxPropertiesRemoved Both "max-properties-removed" "the maximum number of fields was removed" Wider;
    MaxPropertiesIncreased Both "max-properties-increased" "more fields are allowed" Wider;
    MaxPropertiesDecreased Both "max-properties-decreased" "fewer fields are allowed" Narrower;
    MinPropertiesAdded Both "min-properties-added" "there is a minimum number of fields now" Narrower;
    MinPropertiesRemoved Both "min-properties-removed" "the minimum number of fields was removed" Wider;
    MinPropertiesIncreased Both "min-properties-increased" "more fields are required" Narrower;
    MinPropertiesDecreased Both "min-properties-decreased" "fewer fields are required" Wider;
    UniqueItemsAdded Both "unique-items-added" "items must be unique now" Narrower;
    UniqueItemsRemoved Both "unique-items-removed" "items need not be unique any more" Wider;
    MultipleOfAdded Both "multiple-of-added" "values must be a multiple now" Narrower;
    MultipleOfRemoved Both "multiple-of-removed" "values need not be a multiple any more" Wider;
    MultipleOfWidened Both "multiple-of-widened" "every multiple of before is one now" Wider;
    MultipleOfNarrowed Both "multiple-of-narrowed" "every multiple of now was one before" Narrower;
    MultipleOfChanged Both "multiple-of-changed" "values must be a multiple of another number" Other;
    RequiredPropertyAdded Both "required-property-added" "a required field is new" Each(
        (Breaking, "requests without the field are rejected"),
        (Additive, "callers ignore fields that they do not know"));
    PropertyAdded Both "property-added" "an optional field is new" Each(
        (Additive, "callers need not send the field"),
        (Additive, "callers ignore fields that they do not know"));
    PropertyRemoved Both "property-removed" "a field was removed" Each(
        (Breaking, "the field that callers send is rejected, or has no effect"),
        (Breaking, "callers that read the field do not get it any more"));
    PropertyBecameRequired Both "property-became-required" "a field became required" Narrower;
    PropertyBecameOptional Both "property-became-optional" "a field became optional" Wider;
    ReadOnlyAdded Both "read-only-added" "a field is only received now (readOnly)" Each(
        (Breaking, "the field that callers send is rejected, or has no effect"),
        (Docs, "responses have the field as before"));
    ReadOnlyRemoved Both "read-only-removed" "a field can be sent as well now (readOnly removed)" Each(
        (Additive, "callers need not send the field"),
        (Docs, "responses have the field as before"));
    ReadOnlyRemovedRequired Request "required-read-only-removed"
        "a required field must be sent now (readOnly removed)"
        Known(Breaking, "requests without the field are rejected");
    WriteOnlyAdded Both "write-only-added" "a field is only sent now (writeOnly)" Each(
        (Docs, "requests have the field as before"),
        (Breaking, "callers that read the field do not get it any more"));
    WriteOnlyRemoved Both "write-only-removed" "a field can be received as well now (writeOnly removed)" Each(
        (Docs, "requests have the field as before"),
        (Additive, "callers ignore fields that they do not know"));
    HiddenPropertyChanged Both "hidden-property-changed" "a field that is not part of this message changed"
        Known(Docs, "requests have no readOnly field, and responses have no writeOnly field");
    FreeFieldsForbidden Both "additional-properties-forbidden" "other fields are not allowed any more"
        Narrower;
    FreeFieldsAllowed Both "additional-properties-allowed" "other fields are allowed" Each(
        (Additive, "what callers send stays valid"),
        (Additive, "callers ignore fields that they do not know"));
    MapAdded Both "additional-properties-restricted" "there is a schema for other fields now" Each(
        (Breaking, "other fields that callers send may be rejected"),
        (Additive, "callers ignore fields that they do not know"));
    MapOpened Both "additional-properties-opened" "the schema for other fields was removed" Wider;
    MapRemoved Both "additional-properties-removed" "other fields had a schema, and are not allowed any more"
        Each(
            (Breaking, "other fields that callers send may be rejected"),
            (Breaking, "callers that read these fields do not get them any more"));
    OneOfAdded Both "one-of-added" "values must also fit oneOf now" Narrower;
    OneOfRemoved Both "one-of-removed" "values need not fit oneOf any more" Wider;
    AnyOfAdded Both "any-of-added" "values must also fit anyOf now" Narrower;
    AnyOfRemoved Both "any-of-removed" "values need not fit anyOf any more" Wider;
    OneOfBecameAnyOf Both "one-of-became-any-of" "a value may fit several alternatives now" Wider;
    AnyOfBecameOneOf Both "any-of-became-one-of" "a value may fit only one alternative now" Narrower;
    AlternativeAdded Both "alternative-added" "an alternative of oneOf or anyOf is new" Wider;
    AlternativeRemoved Both "alternative-removed" "an alternative of oneOf or anyOf was removed" Narrower;
    AlternativeSplit Both "alternative-split" "an alternative is new, and another one allowed its values before"
        Known(Additive, "no value becomes valid that was not valid before");
    AlternativeMerged Both "alternative-merged" "an alternative was removed, and another one allows its values"
        Known(Additive, "no value becomes invalid that was valid before");
    AllOfAdded Both "all-of-added" "values must fit another schema of allOf as well" Narrower;
    AllOfRemoved Both "all-of-removed" "values need not fit a schema of allOf any more" Wider;
    NotAdded Both "not-added" "some values are excluded now (not)" Narrower;
    NotRemoved Both "not-removed" "no values are excluded any more (not)" Wider;
    NotChanged Both "not-changed" "other values are excluded (not)" Other;
    DiscriminatorAdded Both "discriminator-added" "a discriminator is new"
        Known(Additive, "it is a hint: the alternatives alone decide what is valid");
    DiscriminatorRemoved Both "discriminator-removed" "the discriminator was removed"
        Known(Breaking, "callers that choose the alternative by it have nothing to go by");
    DiscriminatorChanged Both "discriminator-changed" "the discriminator is another field"
        Known(Breaking, "callers choose the alternative by the wrong field");
    MappingAdded Both "mapping-added" "a value of the discriminator is new for an alternative" Wider;
    MappingRemoved Both "mapping-removed" "a value of the discriminator was removed" Narrower;
    MappingChanged Both "mapping-changed" "a value of the discriminator means another alternative" Other;
    DefaultAdded Both "default-added" "there is a default now"
        Known(Additive, "no message becomes invalid");
    DefaultRemoved Both "default-removed" "the default was removed" Each(
        (Breaking, "callers that leave it out cannot rely on the value any more"),
        (Additive, "no message becomes invalid"));
    DefaultChanged Both "default-changed" "the default is another value" Each(
        (Breaking, "callers that leave it out get another behavior"),
        (Additive, "no message becomes invalid"));
    ReferenceChanged Both "reference-changed" "the reference leads to another place that cannot be read"
        Known(Breaking, "references within the document only are compared");
    XmlChanged Both "xml-changed" "the XML form is another one" Other;
    KeywordChanged Both "keyword-changed" "a keyword changed that has no rule"
        Known(Breaking, "an unknown keyword may restrict the values");
    SchemaChanged Both "schema-changed" "the schema cannot be compared" Other;
    Deprecated Both "deprecated" "it is deprecated"
        Known(Docs, "it still works; callers should plan to do without it");
    Undeprecated Both "undeprecated" "it is not deprecated any more" Known(Docs, "it still works");
    Documentation Both "documentation-changed" "the documentation changed"
        Known(Docs, "no message changes");

    MediaTypeAdded Both "media-type-added" "a media type is new" Each(
        (Additive, "callers may keep their media type"),
        (Additive, "callers get the media type that they ask for"));
    MediaTypeRemoved Both "media-type-removed" "a media type was removed" Each(
        (Breaking, "messages in this media type are rejected"),
        (Breaking, "callers that ask for this media type do not get it any more"));
    MediaTypeWidened Both "media-type-widened" "the media type is a range now" Wider;
    MediaTypeNarrowed Both "media-type-narrowed" "the media type was a range" Narrower;
    MediaTypeRespelled Both "media-type-respelled" "only the parameters of the media type changed"
        Known(Docs, "the encoding stays the same");
    EncodingChanged Both "encoding-changed" "it is encoded differently"
        Known(Breaking, "both sides must use the same encoding");

    ParameterRemoved Both "parameter-removed" "a parameter was removed"
        Each(
        (Breaking, "the parameter that callers send is rejected, or has no effect"),
        (Breaking, "callers that read it do not get it any more"));
    ParameterAdded Both "parameter-added" "an optional parameter is new"
        Known(Additive, "nobody needs to send it");
    RequiredParameterAdded Both "required-parameter-added" "a required parameter is new"
        Each(
        (Breaking, "requests without it are rejected"),
        (Additive, "callers ignore what they do not know"));
    ParameterBecameRequired Both "parameter-became-required" "a parameter became required"
        Narrower;
    ParameterBecameOptional Both "parameter-became-optional" "a parameter became optional"
        Wider;
    ParameterStyleChanged Both "parameter-style-changed" "a parameter is written differently"
        Known(Breaking, "its reader gets another value from the same text");
    ParameterAllowsMore Both "parameter-allows-more" "a parameter may be empty, or have reserved characters"
        Wider;
    ParameterAllowsLess Both "parameter-allows-less"
        "a parameter may not be empty any more, or not have reserved characters"
        Narrower;
    ParameterRenamed Request "path-parameter-renamed" "a parameter of the path has another name"
        Known(Docs, "the URL stays the same");
    BodyRemoved Both "body-removed" "the body was removed"
        Each(
        (Breaking, "the body that callers send is rejected, or has no effect"),
        (Breaking, "callers that read it do not get it any more"));
    BodyAdded Both "body-added" "an optional body is new" Known(Additive, "nobody needs to send it");
    RequiredBodyAdded Both "required-body-added" "a required body is new"
        Each(
        (Breaking, "requests without it are rejected"),
        (Additive, "callers ignore what they do not know"));
    BodyBecameRequired Both "body-became-required" "the body became required"
        Narrower;
    BodyBecameOptional Both "body-became-optional" "the body became optional"
        Wider;

    SuccessAdded Both "success-status-added" "a status of success is new"
        Known(Additive, "callers tell success by the class of the status");
    SuccessRemoved Both "success-status-removed" "a status of success was removed"
        Known(Breaking, "callers that wait for this status do not get it any more");
    FailureAdded Both "error-status-added" "a status is new that is not success"
        Known(Additive, "callers must expect any error");
    FailureRemoved Both "error-status-removed" "a status was removed that is not success"
        Known(Additive, "callers must expect any error, and this one less often");
    StatusCovered Both "status-covered" "a status is part of a range or of `default` now"
        Known(Additive, "its responses are compared with those of the range or of `default`");
    StatusNarrowed Both "status-narrowed" "a range of statuses became single ones"
        Known(Additive, "their responses are compared with those of the range");
    HeaderAdded Both "header-added" "a header is new" Each(
        (Additive, "callers need not send it"), (Additive, "callers ignore headers that they do not know"));
    HeaderRemoved Both "header-removed" "a header was removed" Each(
        (Breaking, "the header that callers send has no effect"),
        (Breaking, "callers that read the header do not get it any more"));
    HeaderBecameRequired Both "header-became-required" "a header became required" Narrower;
    HeaderBecameOptional Both "header-became-optional" "a header became optional" Wider;

    OperationAdded Operation "operation-added" "an operation is new" Known(Additive, "no caller uses it yet");
    OperationRemoved Operation "operation-removed" "an operation was removed"
        Known(Breaking, "calls of it fail");
    OperationIdChanged Operation "operation-id-changed" "the name of the operation changed"
        Known(Docs, "no message changes; generated code has another method name");
    CallbackAdded Operation "callback-added" "a callback is new"
        Known(Additive, "a caller that does not ask for it is not called");
    CallbackRemoved Operation "callback-removed" "a callback was removed"
        Known(Breaking, "callers that wait for it are not called any more");
    SecurityAdded Operation "security-added" "calls need a credential now"
        Known(Breaking, "calls without a credential are rejected");
    SecurityRemoved Operation "security-removed" "calls need no credential any more"
        Known(Additive, "a credential does no harm");
    AlternativeSecurityAdded Operation "security-alternative-added" "a way to authenticate is new"
        Known(Additive, "callers may keep theirs: one of the ways is enough");
    AlternativeSecurityRemoved Operation "security-alternative-removed" "a way to authenticate was removed"
        Known(Breaking, "callers that use it are rejected");
    SecurityRelaxed Operation "security-relaxed" "a way to authenticate needs less"
        Known(Additive, "what callers send is still enough");
    SecurityTightened Operation "security-tightened" "a way to authenticate needs one more credential"
        Known(Breaking, "callers that use it are rejected");
    ScopeAdded Operation "security-scope-added" "a way to authenticate needs another scope"
        Known(Breaking, "callers without the scope are rejected");
    ScopeRemoved Operation "security-scope-removed" "a way to authenticate needs a scope less"
        Known(Additive, "what callers send is still enough");
    SchemeAdded Operation "security-scheme-added" "a security scheme is new"
        Known(Additive, "the operations say who needs it");
    SchemeRemoved Operation "security-scheme-removed" "a security scheme was removed"
        Known(Additive, "the operations say who loses it");
    SchemeChanged Operation "security-scheme-changed" "the credential is sent or obtained differently"
        Known(Breaking, "credentials that are sent as before are rejected");
    FlowAdded Operation "security-flow-added" "a flow or scope of OAuth 2 is new"
        Known(Additive, "callers may keep theirs");
    FlowRemoved Operation "security-flow-removed" "a flow or scope of OAuth 2 was removed"
        Known(Breaking, "callers that use it get no token");
    ServerAdded Operation "server-added" "a server is new" Known(Additive, "callers may keep theirs");
    ServerRemoved Operation "server-removed" "a server was removed"
        Known(Breaking, "callers that use it may get no answer");
    ServerChanged Operation "server-variable-changed" "a variable of a server changed"
        Known(Breaking, "the URL that callers form may be another one");
    ServerVariableWidened Operation "server-variable-widened" "a variable of a server allows more values"
        Known(Additive, "callers may keep their value");
    OperationDeprecated Operation "operation-deprecated" "the operation is deprecated"
        Known(Docs, "it still works; callers should plan to do without it");
    OperationUndeprecated Operation "operation-undeprecated" "the operation is not deprecated any more"
        Known(Docs, "it still works");
    OperationDocumentation Operation "operation-documentation-changed" "the documentation changed"
        Known(Docs, "no message changes");
}

/// One rule: a kind of change in one direction, with its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable, such as `request-max-length-decreased`.
    pub name: String,
    /// What follows for callers.
    pub verdict: Verdict,
    /// What changed.
    pub what: &'static str,
    /// Why the verdict follows.
    pub why: &'static str,
}

/// Every rule, in the order of the table.
pub fn rules() -> Vec<Rule> {
    let scopes = [Scope::Request, Scope::Response, Scope::Operation];
    Change::ALL.iter().flat_map(|change| scopes.iter().filter_map(|scope| change.applies(*scope))).collect()
}

impl Change {
    /// The rule for this scope, if the change can be found there.
    fn applies(self, scope: Scope) -> Option<Rule> {
        let possible = match self.row().0 {
            Where::Both => scope != Scope::Operation,
            Where::Request => scope == Scope::Request,
            Where::Operation => scope == Scope::Operation,
        };
        possible.then(|| self.rule(scope))
    }

    pub(super) fn rule(self, scope: Scope) -> Rule {
        let (_, name, what, effect) = self.row();
        let received = scope == Scope::Response;
        let (verdict, why) = match (effect, received) {
            (Wider, false) => (Additive, "what callers send stays valid"),
            (Wider, true) => (Breaking, "callers may receive what they do not expect"),
            (Narrower, false) => (Breaking, "what callers send may be rejected"),
            (Narrower, true) => (Additive, "callers receive nothing that they did not expect before"),
            (Other, false) => (Breaking, "what callers send may be rejected"),
            (Other, true) => (Breaking, "callers may receive what they do not expect"),
            (Known(verdict, why), _) => (verdict, why),
            (Each(sent, _), false) => sent,
            (Each(_, received), true) => received,
        };
        let name = match scope {
            Scope::Request => format!("request-{name}"),
            Scope::Response => format!("response-{name}"),
            Scope::Operation => name.to_owned(),
        };
        Rule { name, verdict, what, why }
    }
}
