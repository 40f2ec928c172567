// Reads events of a Tiermesh by the file that `tiermesh audit subscribe` wrote, and prints a line for each.
//
//	go mod init consumer && go get github.com/nats-io/nats.go github.com/nats-io/nkeys
//	go run main.go siem-1.subscription.json [COUNT]
//
// An event is acknowledged when it was handled: what is not comes again. The same event may come twice; its id tells.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

type subscription struct {
	URLs     []string `json:"urls"`
	CA       *string  `json:"ca_pem"`
	Stream   string   `json:"stream"`
	Consumer string   `json:"consumer"`
	Inbox    string   `json:"inbox_prefix"`
	Seed     string   `json:"nkey_seed"`
}

func connect(read subscription) (*nats.Conn, error) {
	key, err := nkeys.FromSeed([]byte(read.Seed))
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, err
	}
	options := []nats.Option{nats.Nkey(public, key.Sign), nats.CustomInboxPrefix(read.Inbox)}
	if read.CA != nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(*read.CA))
		options = append(options, nats.Secure(&tls.Config{RootCAs: roots}))
	}
	return nats.Connect(strings.Join(read.URLs, ","), options...)
}

func run(file string, count int) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var read subscription
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	bus, err := connect(read)
	if err != nil {
		return err
	}
	defer bus.Drain()
	js, err := bus.JetStream()
	if err != nil {
		return err
	}
	events, err := js.PullSubscribe("", read.Consumer, nats.Bind(read.Stream, read.Consumer))
	if err != nil {
		return err
	}
	for done := 0; done < count; {
		batch, err := events.Fetch(min(100, count-done), nats.MaxWait(5*time.Second))
		if errors.Is(err, nats.ErrTimeout) {
			continue
		}
		if err != nil {
			return err
		}
		for _, event := range batch {
			var data struct {
				Job string `json:"job_id"`
			}
			if err := json.Unmarshal(event.Data, &data); err != nil {
				return err
			}
			if data.Job == "" {
				data.Job = "-"
			}
			// mesh.<cell>.event.<type>.<class>.<process>.<name>
			part := strings.Split(event.Subject, ".")
			fmt.Println(event.Header.Get("ce-time"), part[3], part[4], part[5]+"/"+part[6], data.Job, event.Header.Get("ce-id"))
			if err := event.Ack(); err != nil {
				return err
			}
			done++
		}
	}
	return nil
}

func main() {
	count := math.MaxInt
	if len(os.Args) > 2 {
		count, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) < 2 {
		log.Fatal("usage: main SUBSCRIPTION [COUNT]")
	}
	if err := run(os.Args[1], count); err != nil {
		log.Fatal(err)
	}
}
