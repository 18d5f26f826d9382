// What an ACME server gives to a client that does nothing but send requests: keys and requests are made before the clock
// starts, nothing is kept on disk, nothing is checked, and the chain is thrown away.
//
//	acme-go -directory URL -ca FILE -listen 127.0.0.1:PORT -count N -workers N -suffix benchmark.example.com
//
// Prints {"seconds": …, "certificates": …}. Standard library only.
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

var encode = base64.RawURLEncoding.EncodeToString

type client struct {
	http      *http.Client
	key       *ecdsa.PrivateKey
	jwk       string
	print     string
	account   string
	directory struct{ NewNonce, NewAccount, NewOrder string }
	nonces    chan string
}

type order struct {
	Status, Finalize, Certificate string
	Authorizations                []string
}

type authorization struct {
	Status     string
	Challenges []struct{ Type, URL, Token string }
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func (c *client) nonce() string {
	select {
	case nonce := <-c.nonces:
		return nonce
	default:
	}
	reply, err := c.http.Head(c.directory.NewNonce)
	check(err)
	reply.Body.Close()
	return reply.Header.Get("Replay-Nonce")
}

// post sends one signed request, again with another nonce where the server did not like it.
func (c *client) post(url string, payload string, result any) (string, []byte) {
	for {
		identity := `"kid":"` + c.account + `"`
		if c.account == "" {
			identity = `"jwk":` + c.jwk
		}
		protected := encode([]byte(`{"alg":"ES256",` + identity + `,"nonce":"` + c.nonce() + `","url":"` + url + `"}`))
		body := encode([]byte(payload))
		digest := sha256.Sum256([]byte(protected + "." + body))
		r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
		check(err)
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		text := `{"protected":"` + protected + `","payload":"` + body + `","signature":"` + encode(signature) + `"}`
		reply, err := c.http.Post(url, "application/jose+json", strings.NewReader(text))
		check(err)
		answer, err := io.ReadAll(reply.Body)
		check(err)
		reply.Body.Close()
		select {
		case c.nonces <- reply.Header.Get("Replay-Nonce"):
		default:
		}
		if reply.StatusCode == 400 && bytes.Contains(answer, []byte("badNonce")) {
			continue
		}
		if reply.StatusCode >= 300 {
			log.Fatalf("%s: %d %s", url, reply.StatusCode, answer)
		}
		if result != nil {
			check(json.Unmarshal(answer, result))
		}
		return reply.Header.Get("Location"), answer
	}
}

func pause(n int) {
	if n > 19 {
		n = 19
	}
	time.Sleep(time.Duration(n+1) * 5 * time.Millisecond)
}

func (c *client) issue(name string, csr []byte, location string, order order, answers *sync.Map) {
	for _, url := range order.Authorizations {
		var authz authorization
		c.post(url, "", &authz)
		for _, challenge := range authz.Challenges {
			if challenge.Type == "http-01" && authz.Status == "pending" {
				answers.Store(challenge.Token, challenge.Token+"."+c.print)
				c.post(challenge.URL, "{}", nil)
			}
		}
		for n := 0; authz.Status == "pending"; n++ {
			pause(n)
			c.post(url, "", &authz)
		}
		if authz.Status != "valid" {
			log.Fatalf("%s: %s", name, authz.Status)
		}
	}
	c.post(order.Finalize, `{"csr":"`+encode(csr)+`"}`, &order)
	for n := 0; order.Status != "valid"; n++ {
		if order.Status == "invalid" {
			log.Fatalf("%s: the order is invalid", name)
		}
		pause(n)
		c.post(location, "", &order)
	}
	if _, chain := c.post(order.Certificate, "", nil); !bytes.Contains(chain, []byte("BEGIN CERTIFICATE")) {
		log.Fatalf("%s: no certificate", name)
	}
}

func main() {
	directory := flag.String("directory", "", "")
	ca := flag.String("ca", "", "")
	listen := flag.String("listen", "", "")
	count := flag.Int("count", 500, "")
	workers := flag.Int("workers", 32, "")
	suffix := flag.String("suffix", "", "")
	flag.Parse()

	pem, err := os.ReadFile(*ca)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	c := &client{nonces: make(chan string, 1000), http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: *workers}}}
	reply, err := c.http.Get(*directory)
	check(err)
	check(json.NewDecoder(reply.Body).Decode(&c.directory))
	reply.Body.Close()

	c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	number := func(n *big.Int) string { return encode(n.FillBytes(make([]byte, 32))) }
	c.jwk = `{"crv":"P-256","kty":"EC","x":"` + number(c.key.X) + `","y":"` + number(c.key.Y) + `"}`
	digest := sha256.Sum256([]byte(c.jwk))
	c.print = encode(digest[:])
	c.account, _ = c.post(c.directory.NewAccount, `{"termsOfServiceAgreed":true}`, nil)

	var answers sync.Map
	listener, err := net.Listen("tcp", *listen)
	check(err)
	go http.Serve(listener, http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		if answer, ok := answers.Load(in.URL.Path[strings.LastIndex(in.URL.Path, "/")+1:]); ok {
			io.WriteString(out, answer.(string))
		}
	}))

	names, requests := make([]string, *count), make([][]byte, *count)
	for i := range names {
		names[i] = fmt.Sprintf("host-%05d.%s", i, *suffix)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(err)
		requests[i], err = x509.CreateCertificateRequest(
			rand.Reader, &x509.CertificateRequest{DNSNames: []string{names[i]}}, crypto.Signer(key))
		check(err)
	}
	each := func(do func(i int)) {
		work := make(chan int)
		var group sync.WaitGroup
		for worker := 0; worker < *workers; worker++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range work {
					do(i)
				}
			}()
		}
		for i := range names {
			work <- i
		}
		close(work)
		group.Wait()
	}

	// All orders first: Pebble 2.4.0 locks itself out for good when one order is made while an authorization is read and
	// something is stored (NewOrder holds the store and wants the authorization, Authz holds that and wants the store).
	locations, orders := make([]string, *count), make([]order, *count)
	start := time.Now()
	each(func(i int) {
		payload := `{"identifiers":[{"type":"dns","value":"` + names[i] + `"}]}`
		locations[i], _ = c.post(c.directory.NewOrder, payload, &orders[i])
	})
	each(func(i int) { c.issue(names[i], requests[i], locations[i], orders[i], &answers) })
	fmt.Printf("{\"seconds\": %.4f, \"certificates\": %d}\n", time.Since(start).Seconds(), *count)
}
