// The same inventory with Go's crypto/x509.
//
//	inventory-go parse|record DIRECTORY COUNT PASSES
//
// The files DIRECTORY/00000.pem … are read before the clock starts. `parse` decodes the PEM, parses the certificate and
// hashes it: less than certs does. `record` also makes the text that certs makes: names, serial, hexadecimal digests,
// the pin of the key. Prints the seconds of each pass as JSON; the first pass warms the caches and is not printed.
package main

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

type record struct {
	subject, issuer, serial, sha1, sha256, pin, keyID, authorityKeyID string
	names, ocsp, issuers, points                                      []string
	notBefore, notAfter                                               time.Time
	keyAlgorithm, signatureAlgorithm                                  string
	isCA                                                              bool
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// now is the processor time of the process in seconds, the garbage collector included.
func now() float64 {
	usage := syscall.Rusage{}
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func parse(text []byte) (*x509.Certificate, [32]byte) {
	block, _ := pem.Decode(text)
	if block == nil {
		check(fmt.Errorf("no PEM block"))
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	check(err)
	return certificate, sha256.Sum256(certificate.Raw)
}

func makeRecord(c *x509.Certificate, digest [32]byte) record {
	sum := sha1.Sum(c.Raw)
	pin := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return record{
		subject: c.Subject.String(), issuer: c.Issuer.String(), serial: c.SerialNumber.Text(16),
		sha1: hex.EncodeToString(sum[:]), sha256: hex.EncodeToString(digest[:]),
		pin: base64.StdEncoding.EncodeToString(pin[:]), keyID: hex.EncodeToString(c.SubjectKeyId),
		authorityKeyID: hex.EncodeToString(c.AuthorityKeyId), names: c.DNSNames, ocsp: c.OCSPServer,
		issuers: c.IssuingCertificateURL, points: c.CRLDistributionPoints, notBefore: c.NotBefore, notAfter: c.NotAfter,
		keyAlgorithm: c.PublicKeyAlgorithm.String(), signatureAlgorithm: c.SignatureAlgorithm.String(), isCA: c.IsCA,
	}
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: inventory-go parse|record DIRECTORY COUNT PASSES")
		os.Exit(64)
	}
	makesRecord := os.Args[1] == "record"
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	passes, err := strconv.Atoi(os.Args[4])
	check(err)
	texts := make([][]byte, count)
	for index := range texts {
		texts[index], err = os.ReadFile(filepath.Join(os.Args[2], fmt.Sprintf("%05d.pem", index)))
		check(err)
	}

	checksum := 0
	seconds := []float64{}
	for pass := 0; pass <= passes; pass++ {
		start := now()
		for _, text := range texts {
			certificate, digest := parse(text)
			checksum += int(digest[0])
			if makesRecord {
				checksum += len(makeRecord(certificate, digest).subject)
			}
		}
		if pass > 0 {
			seconds = append(seconds, now()-start)
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"count": count, "seconds": seconds, "checksum": checksum}))
}
