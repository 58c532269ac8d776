import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;

/** Many posts at once from the JDK's client to the JDK's server. Argument: how many. */
public class Posts {
  public static void main(String[] args) throws Exception {
    int count = Integer.parseInt(args[0]);
    // All of them fit: a queue of 50, which 0 would be, loses some to a server that is slow to accept, on any kernel.
    var server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 2 * count);
    var pool = Executors.newFixedThreadPool(8);
    server.setExecutor(pool);
    server.createContext("/echo", x -> {
      byte[] body = x.getRequestBody().readAllBytes();
      x.sendResponseHeaders(200, body.length);
      try (var out = x.getResponseBody()) { out.write(body); }
    });
    server.start();
    var uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/echo");
    var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    var all = new ArrayList<CompletableFuture<Boolean>>();
    for (int i = 0; i < count; i++) {
      String text = "number " + i + "x".repeat(i * 10);
      var request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofString(text)).build();
      all.add(client.sendAsync(request, HttpResponse.BodyHandlers.ofString()).thenApply(r -> r.statusCode() == 200 && r.body().equals(text))
        .exceptionally(e -> { System.out.println(e); return false; }));
    }
    int good = 0;
    for (var one : all) if (one.get()) good++;
    System.out.println(good + " of " + count);
    server.stop(0);
    pool.shutdown();
    System.exit(0);
  }
}
