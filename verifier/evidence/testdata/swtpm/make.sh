#!/bin/sh
# Makes the parts of evidence.json with a software TPM, by other people's tools (swtpm 0.7.1, tpm2-tools 5.4,
# openssl): neither our producer nor our verifier has a hand in it. Writes into the current directory.
set -e
port=${1:?give a free port, the next one must be free too}
mkdir -p state
swtpm socket --tpm2 --tpmstate dir="$PWD/state" --server type=tcp,port="$port",bindaddr=127.0.0.1 \
  --ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1 --flags not-need-init,startup-clear --seccomp action=none &
tpm=$!
trap 'kill $tpm' EXIT
sleep 0.5
export TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$port"
set_of_pcrs=sha256:4,7,11,12,13
for i in 4 7 11 12 13; do
  tpm2_pcrextend "$i:sha256=$(printf 'countersign fixture %s' "$i" | sha256sum | cut -c1-64)"
done

# Attestation key: a restricted primary of the endorsement hierarchy.
tpm2_createprimary -Q -C e -g sha256 -G ecc256:ecdsa-sha256:null -c ak.ctx \
  -a 'restricted|sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'
tpm2_readpublic -Q -c ak.ctx -f tpmt -o ak.tpmt
tpm2_flushcontext -t

# Release key, its name, and the policy that names it.
openssl ecparam -name prime256v1 -genkey -noout -out release.pem
python3 - <<'P'
import hashlib, subprocess
der = subprocess.check_output(["openssl", "ec", "-in", "release.pem", "-pubout", "-outform", "DER"])
head = bytes.fromhex("0023000b0004004000000010" + "0018000b" + "00030010")
public = head + b"\0\x20" + der[-64:-32] + b"\0\x20" + der[-32:]
name = b"\0\x0b" + hashlib.sha256(public).digest()
reference = b"countersign-seal-v1"
with_key = hashlib.sha256(bytes(32) + bytes.fromhex("0000016a") + name).digest()
for file, content in {
    "release.tpmt": public, "release.tpm2b": len(public).to_bytes(2, "big") + public, "release.name": name,
    "reference": reference, "seal.policy": hashlib.sha256(with_key + reference).digest(),
}.items():
    open(file, "wb").write(content)
P

# The release key approves these PCR values.
tpm2_startauthsession -S trial.ctx
tpm2_policypcr -Q -S trial.ctx -l "$set_of_pcrs" -L approved.policy
tpm2_flushcontext trial.ctx
cat approved.policy reference > approval
openssl dgst -sha256 -sign release.pem -out approval.der approval
tpm2_loadexternal -Q -C o -u release.tpm2b -c release.ctx
tpm2_verifysignature -Q -c release.ctx -g sha256 -m approval -s approval.der -f ecdsa -t ticket
tpm2_flushcontext -t
open_session() {
  tpm2_startauthsession --policy-session -S session.ctx
  tpm2_policypcr -Q -S session.ctx -l "$set_of_pcrs"
  tpm2_policyauthorize -Q -S session.ctx -i approved.policy -q reference -n release.name -t ticket
}

# The counter, advanced twice, certified; then the quote.
tpm2_nvdefine -Q 0x01500020 -C o -a 'policywrite|policyread|nt=counter|no_da' -L seal.policy -s 8
for _ in 1 2; do
  open_session; tpm2_nvincrement 0x01500020 -P session:session.ctx; tpm2_flushcontext session.ctx
done
qualifying=$(printf 'countersign fixture qualifying' | sha256sum | cut -c1-64)
open_session
tpm2_nvcertify -C ak.ctx -c 0x01500020 -p session:session.ctx -g sha256 -q "$qualifying" \
  --attestation certify.bin -o certify.sig --size 8 --offset 0 0x01500020
tpm2_flushcontext session.ctx
tpm2_flushcontext -t
tpm2_quote -Q -c ak.ctx -l "$set_of_pcrs" -q "$qualifying" -m quote.bin -s quote.sig -g sha256
tpm2_nvreadpublic 0x01500020
tpm2_pcrread "$set_of_pcrs"
