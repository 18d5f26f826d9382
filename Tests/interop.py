#!/usr/bin/env python3
"""The openssl program and Python's cryptography read and verify what `certs` writes.

    Tests/interop.py CERTS      CERTS is the built program

Issues everything that Tests/Interop/certs.yml declares into a temporary directory, then checks each file with two
independent readers. Needs openssl 3 and cryptography 38 or newer. Exit 1 and one line per failure.
"""
import datetime
import ipaddress
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FIXTURE = pathlib.Path(__file__).resolve().parent / "Interop" / "certs.yml"

# name: (type of the key, bits), as certs.yml declares it
FROM_LOCAL_CA = {
    "rsa-2048": (rsa.RSAPrivateKey, 2048), "rsa-3072": (rsa.RSAPrivateKey, 3072), "rsa-4096": (rsa.RSAPrivateKey, 4096),
    "ecdsa-p256": (ec.EllipticCurvePrivateKey, 256), "ecdsa-p384": (ec.EllipticCurvePrivateKey, 384),
    "ecdsa-p521": (ec.EllipticCurvePrivateKey, 521), "ed25519": (ed25519.Ed25519PrivateKey, None),
    "many-names": (ec.EllipticCurvePrivateKey, 256),
}
SELF_SIGNED = {
    "own-rsa": (rsa.RSAPrivateKey, 2048), "own-ecdsa": (ec.EllipticCurvePrivateKey, 256),
    "own-ed25519": (ed25519.Ed25519PrivateKey, None),
}


def openssl(*arguments):
    """The output of `openssl ARGUMENTS`; an error of ours if it fails."""
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        raise AssertionError(f"openssl {' '.join(map(str, arguments))}: {(result.stdout + result.stderr).strip()}")
    return result.stdout + result.stderr


def certificates(path):
    end = b"-----END CERTIFICATE-----"
    blocks = [block + end for block in path.read_bytes().split(end) if b"BEGIN CERTIFICATE" in block]
    return [x509.load_pem_x509_certificate(block) for block in blocks]


def spki(key):
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def check_signature(certificate, issuer):
    """Raises unless `issuer` signed `certificate`."""
    key, signature, signed = issuer.public_key(), certificate.signature, certificate.tbs_certificate_bytes
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), certificate.signature_hash_algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(certificate.signature_hash_algorithm))
    else:
        key.verify(signature, signed)
    assert certificate.issuer == issuer.subject, "the issuer's name is another one"


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind).value


def host_of(name):
    return "many.example.com" if name == "many-names" else f"{name}.example.com"


def check_common(directory, name, expected):
    kind, bits = expected
    for private in ("key.pem", "bundle.pem"):
        mode = stat.S_IMODE((directory / private).stat().st_mode)
        assert mode == 0o600, f"{private} has mode {mode:o}"
    key_text = (directory / "key.pem").read_bytes()
    assert key_text.startswith(b"-----BEGIN PRIVATE KEY-----"), "key.pem is not PKCS#8"
    key = serialization.load_pem_private_key(key_text, None)
    assert isinstance(key, kind), f"the key is a {type(key).__name__}"
    assert bits is None or key.key_size == bits, f"the key has {key.key_size} bits"

    request = x509.load_pem_x509_csr((directory / "csr.pem").read_bytes())
    assert request.is_signature_valid, "the signature of the request is wrong"
    leaves = certificates(directory / "cert.pem")
    assert len(leaves) == 1, f"cert.pem has {len(leaves)} certificates"
    leaf = leaves[0]
    assert spki(key.public_key()) == spki(request.public_key()) == spki(leaf.public_key()), "three different keys"
    assert extension(request, x509.SubjectAlternativeName) == extension(leaf, x509.SubjectAlternativeName)
    assert host_of(name) in extension(leaf, x509.SubjectAlternativeName).get_values_for_type(x509.DNSName)
    assert ExtendedKeyUsageOID.SERVER_AUTH in extension(leaf, x509.ExtendedKeyUsage)
    assert extension(leaf, x509.KeyUsage).digital_signature
    assert leaf.serial_number > 0 and leaf.serial_number.bit_length() <= 159, "RFC 5280 section 4.1.2.2"
    now = datetime.datetime.now(datetime.timezone.utc)
    not_before = getattr(leaf, "not_valid_before_utc", None) or leaf.not_valid_before.replace(tzinfo=datetime.timezone.utc)
    assert not_before <= now + datetime.timedelta(seconds=1), f"not valid before {not_before}"

    openssl("pkey", "-in", directory / "key.pem", "-check", "-noout")
    assert "verify OK" in openssl("req", "-in", directory / "csr.pem", "-verify", "-noout")
    assert "Certificate:" in openssl("x509", "-in", directory / "cert.pem", "-noout", "-text")
    bundle = (directory / "bundle.pem").read_text()
    assert "\n\n" not in bundle, "a blank line in the bundle ends a command of HAProxy's runtime API"
    assert certificates(directory / "bundle.pem")[0] == leaf, "the bundle begins with another certificate"
    return leaf


def check_from_local_ca(state, name, expected):
    directory = state / "live" / name / "1"
    leaf = check_common(directory, name, expected)
    chain = certificates(directory / "chain.pem")
    root_file = state / "authorities" / "local" / "root.pem"
    root = certificates(root_file)[0]
    assert chain and root not in chain, "the chain must have the intermediate and not the root"
    for certificate, issuer in zip([leaf, *chain], [*chain, root]):
        check_signature(certificate, issuer)
        assert extension(issuer, x509.BasicConstraints).ca and extension(issuer, x509.KeyUsage).key_cert_sign
        identifier = extension(certificate, x509.AuthorityKeyIdentifier).key_identifier
        assert identifier == extension(issuer, x509.SubjectKeyIdentifier).digest, "the key identifiers do not link"
    check_signature(root, root)
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host_of(name), "-CAfile", root_file,
            "-untrusted", directory / "chain.pem", directory / "cert.pem")


def check_self_signed(state, name, expected):
    directory = state / "live" / name / "1"
    leaf = check_common(directory, name, expected)
    check_signature(leaf, leaf)
    openssl("verify", "-x509_strict", "-verify_hostname", host_of(name), "-CAfile", directory / "cert.pem",
            directory / "cert.pem")


def check_names(state):
    leaf = certificates(state / "live" / "many-names" / "1" / "cert.pem")[0]
    names = extension(leaf, x509.SubjectAlternativeName)
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "many.example.com", "*.many.example.com", "xn--bcher-kva.example.com"}, names
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")}, names
    assert names.get_values_for_type(x509.RFC822Name) == ["ops@example.com"], names
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["https://many.example.com/"], names
    subject = {attribute.oid: attribute.value for attribute in leaf.subject}
    assert subject == {NameOID.COMMON_NAME: "many.example.com", NameOID.ORGANIZATION_NAME: "SilentRelay",
                       NameOID.COUNTRY_NAME: "US"}, subject


def check_all_differ(state):
    prints, serials = set(), set()
    names = [*FROM_LOCAL_CA, *SELF_SIGNED]
    for name in names:
        leaf = certificates(state / "live" / name / "1" / "cert.pem")[0]
        prints.add(leaf.fingerprint(hashes.SHA256()))
        serials.add(leaf.serial_number)
    assert len(prints) == len(serials) == len(names), "two certificates share a serial"


def main(program):
    failures = 0
    with tempfile.TemporaryDirectory(prefix="certs-interop-") as temporary:
        configuration = pathlib.Path(temporary) / "certs.yml"
        shutil.copy(FIXTURE, configuration)
        subprocess.run([program, "--config", configuration, "rotate", "--all"], check=True, stdin=subprocess.DEVNULL)
        state = pathlib.Path(temporary) / "state"
        checks = [(name, check_from_local_ca, (state, name, key)) for name, key in FROM_LOCAL_CA.items()]
        checks += [(name, check_self_signed, (state, name, key)) for name, key in SELF_SIGNED.items()]
        checks += [("names", check_names, (state,)), ("serials", check_all_differ, (state,))]
        for name, check, arguments in checks:
            try:
                check(*arguments)
                print(f"  ok  {name}")
            except Exception as problem:  # one bad certificate must not hide the others
                failures += 1
                print(f"  FAILED  {name}: {type(problem).__name__}: {problem}", file=sys.stderr)
    print(f"interop: {len(checks) - failures} of {len(checks)} checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
