package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// cosigner checks a witness's cosignatures, written from c2sp.org/tlog-cosignature: Go's note package has none.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	text := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(c.key, []byte(text), sig[8:])
}

// newCosigner reads a verifier key of signature type 0x04.
func newCosigner(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("not a verifier key: %s", vkey)
	}
	data, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(data) != 1+ed25519.PublicKeySize || data[0] != 0x04 {
		return nil, fmt.Errorf("not the key of a witness: %s", vkey)
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), data...))
	hash := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, fmt.Errorf("the hash of %s is %08x", vkey, hash)
	}
	return cosigner{parts[0], hash, data[1:]}, nil
}

// cosigned counts the witnesses whose cosignature a checkpoint has.
func cosigned(msg []byte, keys []string) (int, error) {
	count := 0
	for _, vkey := range keys {
		verifier, err := newCosigner(vkey)
		if err != nil {
			return 0, err
		}
		_, err = note.Open(msg, note.VerifierList(verifier))
		if _, unsigned := err.(*note.UnverifiedNoteError); unsigned {
			continue
		}
		if err != nil {
			return 0, err
		}
		count++
	}
	return count, nil
}
