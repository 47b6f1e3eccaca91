// A ticket signed with a login key, in Java 17 or newer, with nothing but the JDK.
//   java Ticket.java company BASE64_KEY alice 1900000000
import java.nio.charset.StandardCharsets;
import java.text.Normalizer;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Ticket {
    /** Letters, digits and _ . : @ - stand for themselves, every other byte of the UTF-8 is %XX. */
    static String escaped(String user) {
        StringBuilder out = new StringBuilder();
        for (byte b : Normalizer.normalize(user, Normalizer.Form.NFC).getBytes(StandardCharsets.UTF_8)) {
            char c = (char) (b & 0xff);
            if (c < 128 && (Character.isLetterOrDigit(c) || "_.:@-".indexOf(c) >= 0)) {
                out.append(c);
            } else {
                out.append(String.format("%%%02X", b & 0xff));
            }
        }
        return out.toString();
    }

    /** Returns a ticket that is good before {@code expires}, in seconds since the Unix epoch. */
    static String ticket(String keyId, byte[] key, String user, long expires) throws Exception {
        String body = keyId + "." + Long.toHexString(expires) + "." + escaped(user);
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        byte[] digest = mac.doFinal(body.getBytes(StandardCharsets.US_ASCII));
        return body + "." + HexFormat.of().formatHex(digest).substring(0, 32);
    }

    public static void main(String[] args) throws Exception {
        System.out.println(ticket(args[0], Base64.getDecoder().decode(args[1]), args[2], Long.parseLong(args[3])));
    }
}
