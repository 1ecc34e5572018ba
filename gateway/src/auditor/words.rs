//! What the pages say, in French and in English.
//!
//! Names of the protocol (codes of faults, identifiers, names of algorithms) are the same in every language.

use cert_authority::clock::UnixTime;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Québec's.
    #[default]
    French,
    /// The other one.
    English,
}

impl Language {
    /// By its tag, `fr` or `en`.
    pub fn by_tag(tag: &str) -> Option<Self> {
        match tag {
            "fr" => Some(Self::French),
            "en" => Some(Self::English),
            _ => None,
        }
    }

    /// The first of an `Accept-Language` header that there is; a browser names the preferred one first.
    pub fn preferred(header: Option<&str>) -> Self {
        let tags = header.unwrap_or_default().split(',');
        let mut known =
            tags.filter_map(|tag| Self::by_tag(tag.trim().get(..2)?.to_ascii_lowercase().as_str()));
        known.next().unwrap_or_default()
    }

    /// Its tag, for `lang`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::French => "fr",
            Self::English => "en",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::French => Self::English,
            Self::English => Self::French,
        }
    }

    /// Its words.
    pub const fn words(self) -> &'static Words {
        match self {
            Self::French => &FRENCH,
            Self::English => &ENGLISH,
        }
    }
}

/// A point in time as it is shown: UTC, to the millisecond.
pub fn instant(time: UnixTime) -> String {
    time.to_rfc3339_millis().replace('T', " ").replace('Z', " UTC")
}

macro_rules! words {
    ($($name:ident: $french:literal, $english:literal;)*) => {
        /// Everything that the pages say.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each is what it is called")]
        pub struct Words { $(pub $name: &'static str,)* }
        const FRENCH: Words = Words { $($name: $french,)* };
        const ENGLISH: Words = Words { $($name: $english,)* };
    };
}

words! {
    title: "Journal des messages", "Message log";
    skip: "Aller au contenu", "Skip to content";
    other_language: "English", "Français";
    search: "Rechercher", "Search";
    traffic: "Trafic", "Traffic";
    leave: "Quitter", "Leave";
    reads: "Vous lisez en tant que", "You are reading as";

    login: "Ouvrir une session", "Sign in";
    token: "Jeton d’auditeur", "Auditor’s token";
    reason: "Motif de la consultation", "Reason for reading";
    reason_hint: "Il est inscrit au registre des consultations avec chaque enregistrement lu.",
        "It goes into the register of access, with each record that is read.";
    enter: "Entrer", "Enter";
    wrong_token: "Ce jeton n’est pas valide.", "This token is not valid.";
    too_many: "Trop de tentatives ont échoué. Attendez un peu.", "Too many attempts have failed. Wait a little.";
    no_right: "Ce jeton ne permet pas de lire le journal.", "This token does not allow reading the log.";
    reason_missing: "Un motif est nécessaire.", "A reason is needed.";
    no_page: "Cette page n’existe pas.", "There is no such page.";
    no_record: "Cet enregistrement n’est pas un message du journal.", "This record is no message of the log.";
    removed: "Cet enregistrement a été retiré du journal, qui garde son empreinte :", "This record was removed from the log, which keeps its hash:";
    failed: "Le journal ne peut pas être lu pour le moment.", "The log cannot be read at the moment.";
    bad_field: "Cette valeur n’a pas la forme attendue :", "This value does not have the expected form:";
    bad_form: "Ce formulaire ne vient pas de cette session. Recommencez.",
        "This form is not of this session. Please try again.";

    message_id: "Identifiant du message", "Message id";
    client: "Client (sous-système)", "Client (subsystem)";
    service: "Service", "Service";
    member: "Membre (client ou fournisseur)", "Member (client or provider)";
    from: "Du (UTC)", "From (UTC)";
    until: "Au (UTC)", "Until (UTC)";
    role: "Notre rôle", "Our role";
    any: "peu importe", "any";
    consumer: "consommateur", "consumer";
    provider: "fournisseur", "provider";
    found: "Messages trouvés", "Messages found";
    nothing: "Aucun message ne correspond.", "No message matches.";
    older: "Plus anciens", "Older";
    number: "Nº", "No.";
    time: "Heure", "Time";
    kind: "Sens", "Direction";
    request: "requête", "request";
    response: "réponse", "response";
    length: "Octets", "Bytes";
    state: "État", "State";
    stamped: "horodaté", "time-stamped";
    waiting: "attend l’horodatage", "waits for its time-stamp";
    ending: "fin", "ending";
    ended_well: "terminé sans réponse signée", "ended without a signed answer";
    ended_badly: "terminé par une erreur", "ended with a fault";
    in_doubt: "issue inconnue", "in doubt";
    user_asked: "Utilisateur (X-Road-UserId)", "User (X-Road-UserId)";
    issue_asked: "Dossier (X-Road-Issue)", "Issue (X-Road-Issue)";

    exchange: "Échange", "Exchange";
    steps: "Étapes", "Steps";
    lane_system: "Système client", "Client’s system";
    lane_own: "Notre passerelle", "Our gateway";
    lane_peer: "Autre passerelle", "Other gateway";
    lane_service: "Service", "Service";
    asks: "Le client demande", "The client asks";
    signs_request: "La requête est signée", "The request is signed";
    logs_request: "La requête est consignée", "The request is logged";
    verifies_request: "La requête est vérifiée et consignée", "The request is verified and logged";
    verifies_response: "La réponse est vérifiée et consignée", "The answer is verified and logged";
    sends: "La requête part vers l’autre passerelle", "The request goes to the other gateway";
    arrives: "La requête signée arrive", "The signed request arrives";
    calls: "Le service est appelé", "The service is called";
    serves: "Le service répond", "The service answers";
    signs_response: "La réponse est signée", "The answer is signed";
    answer_arrives: "La réponse signée arrive", "The signed answer arrives";
    logs_response: "La réponse est consignée", "The answer is logged";
    answers: "La réponse est remise", "The answer is handed over";
    refused: "L’échange se termine sans réponse signée", "The exchange ends without a signed answer";
    stamps: "L’autorité d’horodatage l’atteste", "The time-stamping authority attests it";
    by: "par", "by";
    user: "Utilisateur", "User";
    issue: "Dossier", "Issue";
    represented: "Partie représentée", "Represented party";
    purpose: "Finalité", "Purpose";
    agreement: "Entente", "Agreement";
    jurisdiction: "Déclaration de juridiction (empreinte)", "Jurisdiction statement (digest)";
    data_class: "Catégorie de données", "Class of data";
    policy: "Décision de la politique", "Policy decision";
    server: "Serveur", "Server";
    record: "Enregistrement", "Record";
    parts: "Parties signées", "Signed parts";
    kept: "conservée", "kept";
    not_kept: "seule l’empreinte est conservée", "only the digest is kept";
    verify: "Vérifier cet échange", "Verify this exchange";
    verdict: "Vérification", "Verification";
    valid: "valide", "valid";
    not_valid: "non valide", "not valid";
    signer: "Signataire", "Signer";
    signed_at: "Signé", "Signed";
    ocsp_at: "Certificat déclaré bon (OCSP)", "Certificate said to be good (OCSP)";
    stamped_at: "Horodaté", "Time-stamped";
    too_long: "Ce message est trop long pour cette page. Sur la machine : passerelle-gateway log export",
        "This message is too long for this page. On the machine: passerelle-gateway log export";
    download: "Télécharger le conteneur (ASiC-E)", "Download the container (ASiC-E)";
    readers: "Qui a consulté cet échange", "Who has read about this exchange";
    no_readers: "Personne avant vous.", "Nobody before you.";
    no_more_readers: "Personne d’autre avant.", "Nobody else before.";
    who: "Qui", "Who";
    action: "Action", "Action";

    by_hour: "Requêtes par heure", "Requests by hour";
    by_service: "Requêtes par service", "Requests by service";
    day: "Jour (UTC)", "Day (UTC)";
    show: "Afficher", "Show";
    requests: "Requêtes", "Requests";
    as_table: "En tableau", "As a table";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_s_first_language_that_there_is_is_spoken() {
        let spoken = |header| Language::preferred(header).tag();
        assert_eq!(spoken(None), "fr");
        assert_eq!(spoken(Some("en-CA,fr;q=0.8")), "en");
        assert_eq!(spoken(Some("de, fr-CA, en")), "fr");
        assert_eq!(spoken(Some("é, x,, EN")), "en");
        assert_eq!(spoken(Some("*")), "fr");
    }
}
