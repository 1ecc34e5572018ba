//! What an information system asks in SOAP, written by hand.

/// An envelope from the usual client to the usual provider; `fields` stand at the end of its header.
pub fn envelope((service, version): (&str, &str), id: &str, fields: &str, body: &str) -> String {
    let version = match version {
        "" => String::new(),
        version => format!("<id:serviceVersion>{version}</id:serviceVersion>"),
    };
    let member = |code: &str, subsystem: &str| {
        format!(
            "<id:xRoadInstance>DEMO</id:xRoadInstance><id:memberClass>GOV</id:memberClass>\
             <id:memberCode>{code}</id:memberCode><id:subsystemCode>{subsystem}</id:subsystemCode>"
        )
    };
    let (client, provider) = (member("1001", "portal"), member("2002", "registry"));
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<s:Envelope \
         xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" xmlns:id=\"http://x-road.eu/xsd/identifiers\">\n  \
         <s:Header>\n    <x:client id:objectType=\"SUBSYSTEM\">{client}</x:client>\n    \
         <x:service id:objectType=\"SERVICE\">{provider}<id:serviceCode>{service}</id:serviceCode>\
         {version}</x:service>\n    <x:userId>U1</x:userId>\n    <x:id>{id}</x:id>\n    \
         <x:protocolVersion>4.0</x:protocolVersion>{fields}\n  </s:Header>\n  \
         <s:Body>{body}</s:Body>\n</s:Envelope>"
    )
}
