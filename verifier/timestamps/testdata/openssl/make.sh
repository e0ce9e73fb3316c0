#!/bin/sh
# Makes the tokens of this directory with `openssl ts` (openssl 3). Run by hand, in an empty directory; copy what it
# leaves here. Keys are made anew each time and thrown away. Clocks: the machine's own.
set -eu
printf 'countersign/10ba682c8ad13513971e8b56881aab8bd702bb807796eca81932c735a94d6e6d\n14\nxSaovm5UVvn17MZ8jKrwLVY74cYSH2EiBN9eipCP/8U=\n' > note.txt
days=10000
cat > ca.cnf <<'CONF'
[req]
distinguished_name = dn
prompt = no
[dn]
CN = unused
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[middle]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[stamper]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
CONF

key() { # name, kind, parameter
    case $2 in
        rsa) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$3" -out "$1.key" ;;
        ec) openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$3" -pkeyopt ec_param_enc:named_curve -out "$1.key" ;;
    esac 2> /dev/null
}
root() { # name, digest
    openssl req -config ca.cnf -x509 -new -key "$1.key" -"$2" -days $days -subj "/O=Example Time/CN=$1" -extensions root -out "$1.pem"
    openssl x509 -in "$1.pem" -outform DER -out "$1.der"
}
issue() { # name, issuer, digest, section
    openssl req -config ca.cnf -new -key "$1.key" -subj "/O=Example Time/CN=$1" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -"$3" -days $days -extfile ca.cnf \
        -extensions "$4" -out "$1.pem" 2> /dev/null
}
stamp() { # token, signer, chain, signer's digest, ESSCertID digest, imprint digest, and whether the bare token
    cat > ts.cnf <<CONF
[tsa]
default_tsa = it
[it]
serial = serial
signer_digest = $4
default_policy = 1.2.3.4.1
digests = sha1, sha256, sha512
accuracy = secs:1, millisecs:500, microsecs:100
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = $5
CONF
    openssl ts -query -data note.txt -"$6" -cert -out "$1.tsq" 2> /dev/null
    openssl ts -reply -config ts.cnf -section it -queryfile "$1.tsq" -signer "$2.pem" -inkey "$2.key" -chain "$3" \
        -out "$1.tsr" 2> /dev/null
    openssl ts -reply -in "$1.tsr" -token_out -out "$1.tst" 2> /dev/null
}

echo 01 > serial
key rsa-root rsa 3072; root rsa-root sha256
key ec-root ec P-384; root ec-root sha384
key rsa-middle rsa 4096; issue rsa-middle rsa-root sha512 middle

for bits in 2048 3072 4096 1024; do key rsa-$bits rsa $bits; issue rsa-$bits rsa-root sha256 stamper; done
key rsa-below rsa 2048; issue rsa-below rsa-middle sha384 stamper
for bits in 256 384; do key p-$bits ec P-$bits; issue p-$bits ec-root sha384 stamper; done

stamp rsa-2048-sha256 rsa-2048 rsa-root.pem sha256 sha256 sha256
stamp rsa-3072-sha384 rsa-3072 rsa-root.pem sha384 sha384 sha256
stamp rsa-4096-sha512 rsa-4096 rsa-root.pem sha512 sha512 sha256
stamp rsa-below-sha256 rsa-below rsa-middle.pem sha256 sha256 sha256
stamp p-256-sha256 p-256 ec-root.pem sha256 sha256 sha256
stamp p-384-sha512 p-384 ec-root.pem sha512 sha256 sha256
# What has to be refused.
stamp rsa-1024 rsa-1024 rsa-root.pem sha256 sha256 sha256
stamp signed-by-sha1 rsa-2048 rsa-root.pem sha1 sha256 sha256
stamp named-by-sha1 rsa-2048 rsa-root.pem sha256 sha1 sha256
stamp over-sha512 rsa-2048 rsa-root.pem sha256 sha256 sha512

for token in *.tst; do
    case $token in p-*) root=ec-root.pem ;; *) root=rsa-root.pem ;; esac
    openssl ts -verify -data note.txt -in "$token" -token_in -CAfile $root || echo "$token: openssl refuses it too"
done
mv rsa-2048-sha256.tsq query.tsq
mv rsa-2048-sha256.tsr reply.tsr
rm -f ./*.key ./*.csr ./*.srl ./*.pem ca.cnf ts.cnf serial serial.old
find . -name '*.ts[qr]' ! -name query.tsq ! -name reply.tsr -delete
