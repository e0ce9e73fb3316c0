#!/bin/sh
# Makes the files of this directory with OpenSSL: an issuer (P-384), certificates and lists by it, and PSS signatures. Dates
# are fixed; keys are thrown away, so another run gives other bytes.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/ca.cnf" <<C
[ca]
default_ca = c
[c]
database = $work/index
serial = $work/serial
crlnumber = $work/number
new_certs_dir = $work
certificate = $work/ca.pem
private_key = $work/ca.key
default_md = sha384
policy = p
default_startdate = 20260101000000Z
crl_extensions = crl
[p]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[issuer]
basicConstraints = critical,CA:TRUE,pathlen:1
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
1.3.6.1.4.1.3704.1.1 = DER:0201 05
[delta]
deltaCRL = critical,ASN1:INTEGER:1
C
sed -i 's/DER:0201 05/DER:020105/' "$work/ca.cnf"
: > "$work/index"; echo 1000 > "$work/serial"; echo 01 > "$work/number"
printf "[req]\ndistinguished_name=d\n[d]\n" | cat - "$work/ca.cnf" > "$work/req.cnf"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -sha384 -subj /CN=Issuer -keyout "$work/ca.key" -out "$work/ca.pem" -days 36500 -extensions issuer -config "$work/req.cnf" 2>/dev/null
for who in good bad; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$who" -config "$work/req.cnf" -keyout "$work/$who.key" -out "$work/$who.csr" 2>/dev/null
  openssl ca -batch -notext -config "$work/ca.cnf" -extensions leaf -in "$work/$who.csr" -out "$work/$who.pem" -enddate 20360101000000Z 2>/dev/null
  openssl x509 -in "$work/$who.pem" -outform der -out "$who.der"
done
openssl x509 -in "$work/ca.pem" -outform der -out issuer.der
lists() { openssl ca -gencrl -config "$work/ca.cnf" -crl_lastupdate 20260301000000Z -crl_nextupdate 20260401000000Z "$@" 2>/dev/null | openssl crl -outform der; }
lists > empty.crl
openssl ca -config "$work/ca.cnf" -revoke "$work/bad.pem" 2>/dev/null
lists > revoking.crl
lists -crlexts delta > delta.crl
openssl genrsa -out "$work/rsa.key" 2048 2>/dev/null
printf 'a message' > "$work/message"
openssl dgst -sha384 -sign "$work/rsa.key" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:48 -out pss-48.sig "$work/message"
openssl dgst -sha384 -sign "$work/rsa.key" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -out pss-32.sig "$work/message"
openssl rsa -in "$work/rsa.key" -noout -modulus 2>/dev/null | cut -d= -f2 > modulus.hex
