// A ticket signed with a login key, with Go's standard library.
//
//	go run ticket.go login-company.json alice 1900000000
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// LoginKey is what `redrush login-key add` writes; encoding/json decodes base64 into bytes.
type LoginKey struct {
	ID  string `json:"id"`
	Key []byte `json:"key"`
}

// Letters, digits and _ . : @ - stand for themselves, every other byte of the UTF-8 is %XX.
// Ids must be in Unicode's form NFC: golang.org/x/text/unicode/norm does that where yours may not be.
func escaped(user string) string {
	var out strings.Builder
	for _, b := range []byte(user) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("_.:@-", b) >= 0 {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

// Ticket returns a ticket that is good before expires, in seconds since the Unix epoch.
func Ticket(key LoginKey, user string, expires int64) string {
	body := key.ID + "." + strconv.FormatInt(expires, 16) + "." + escaped(user)
	mac := hmac.New(sha256.New, key.Key)
	mac.Write([]byte(body))
	return body + "." + hex.EncodeToString(mac.Sum(nil))[:32]
}

func main() {
	content, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var key LoginKey
	if err := json.Unmarshal(content, &key); err != nil {
		panic(err)
	}
	expires, err := strconv.ParseInt(os.Args[3], 10, 64)
	if err != nil {
		panic(err)
	}
	fmt.Println(Ticket(key, os.Args[2], expires))
}
