using System.Net.WebSockets;
using System.Text.Json;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.Http.Connections.Client;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;

// Microsoft's .NET client against the test application. The argument is its address. Prints one line
// of JSON for each check: its name, and what went wrong if something did.

var baseUrl = args[0];
var limit = TimeSpan.FromSeconds(20);
using var http = new HttpClient();

(HttpTransportType Transport, string Protocol)[] combinations =
[
    (HttpTransportType.WebSockets, "json"),
    (HttpTransportType.WebSockets, "messagepack"),
    (HttpTransportType.ServerSentEvents, "json"),
    (HttpTransportType.LongPolling, "json"),
    (HttpTransportType.LongPolling, "messagepack"),
];

(string Name, Func<Wish, Task> Run)[] everywhere =
[
    ("invokes a method", async wish =>
    {
        await using var connection = await Start(wish);
        Equal(await connection.InvokeAsync<string>("Echo", "你好 \U0001F9ED"), "你好 \U0001F9ED");
        Equal(await connection.InvokeAsync<int>("Add", 40, 2), 42);
        Equal(await connection.InvokeAsync<string?>("Null"), null);
        await connection.InvokeAsync("Nothing");
        Equal(await connection.InvokeAsync<string>("ConnectionId"), connection.ConnectionId);
        Equal(await connection.InvokeAsync<string>("Transport"), wish.Transport.ToString());
    }),
    ("method names in any case", async wish =>
    {
        await using var connection = await Start(wish);
        Equal(await connection.InvokeAsync<string>("eCHO", "x"), "x");
    }),
    ("sends without a result", async wish =>
    {
        await using var connection = Make(wish);
        var received = new TaskCompletionSource<string>();
        connection.On<string>("Message", received.SetResult);
        await connection.StartAsync();
        await connection.SendAsync("SendToCaller", "Message", "hello");
        Equal(await received.Task.WaitAsync(limit), "hello");
    }),
    ("bytes and dates", async wish =>
    {
        await using var connection = await Start(wish);
        var bytes = await connection.InvokeAsync<byte[]>("Bytes");
        Equal(string.Join(",", bytes), "1,2,3");
        Equal(await connection.InvokeAsync<DateTime>("When"), new DateTime(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc));
        Equal(await connection.InvokeAsync<long>("Big"), 9007199254740991L);
    }),
    ("a stream", async wish =>
    {
        await using var connection = await Start(wish);
        var items = new List<int>();
        await foreach (var item in connection.StreamAsync<int>("Count", 5))
        {
            items.Add(item);
        }
        Equal(string.Join(",", items), "0,1,2,3,4");
        var channel = await connection.StreamAsChannelAsync<int>("CountByChannel", 3);
        items.Clear();
        await foreach (var item in channel.ReadAllAsync())
        {
            items.Add(item);
        }
        Equal(string.Join(",", items), "0,1,2");
    }),
    ("a stream that is cancelled", async wish =>
    {
        await using var connection = await Start(wish);
        using var source = new CancellationTokenSource();
        try
        {
            await foreach (var item in connection.StreamAsync<string>("Endless", source.Token))
            {
                Equal(item, "first");
                source.Cancel();
            }
        }
        catch (OperationCanceledException)
        {
        }
        await Observed(connection, "stream canceled");
        Equal(await connection.InvokeAsync<string>("Echo", "after"), "after");
    }),
    ("a stream that fails", async wish =>
    {
        await using var connection = await Start(wish);
        var count = 0;
        var error = await Throws<HubException>(async () =>
        {
            await foreach (var _ in connection.StreamAsync<int>("FailAfter", 2, "broken", true))
            {
                count++;
            }
        });
        Equal(count, 2);
        Equal(error.Message, "An error occurred on the server while streaming results. HubException: broken");
    }),
    ("an upload by an async enumerable", async wish =>
    {
        await using var connection = await Start(wish);
        Equal(await connection.InvokeAsync<int>("Sum", Numbers(10)), 45);
    }),
    ("an upload by a channel", async wish =>
    {
        await using var connection = await Start(wish);
        var channel = Channel.CreateUnbounded<int>();
        var sum = connection.InvokeAsync<int>("Sum", channel.Reader);
        for (var number = 1; number <= 3; number++)
        {
            await channel.Writer.WriteAsync(number);
        }
        channel.Writer.Complete();
        Equal(await sum, 6);
    }),
    ("an upload that fails", async wish =>
    {
        await using var connection = await Start(wish);
        var channel = Channel.CreateUnbounded<int>();
        var sum = connection.InvokeAsync<int>("Sum", channel.Reader);
        await channel.Writer.WriteAsync(1);
        channel.Writer.Complete(new InvalidOperationException("no more"));
        var error = await Throws<HubException>(() => sum);
        // The client sends the whole exception, with its stack.
        True(
            error.Message.StartsWith(
                "An unexpected error occurred invoking 'Sum' on the server. HubException: Stream errored by client: 'System.InvalidOperationException: no more",
                StringComparison.Ordinal),
            $"the client's error in: {error.Message}");
    }),
    ("streams both ways at once", async wish =>
    {
        await using var connection = await Start(wish);
        var channel = Channel.CreateUnbounded<string>();
        await using var shouts = connection.StreamAsync<string>("Shout", channel.Reader).GetAsyncEnumerator();
        foreach (var word in new[] { "a", "b" })
        {
            await channel.Writer.WriteAsync(word);
            True(await shouts.MoveNextAsync(), "an item");
            Equal(shouts.Current, word.ToUpperInvariant());
        }
        channel.Writer.Complete();
        True(!await shouts.MoveNextAsync(), "the end");
    }),
    ("a client result", async wish =>
    {
        await using var connection = Make(wish);
        connection.On("Question", (string question) => question.Length);
        await connection.StartAsync();
        Equal(await connection.InvokeAsync<string>("AskCaller", "four"), "value 4");
        Equal(string.Join(",", await connection.InvokeAsync<int[]>("AskCallerTwice")), "3,3");
    }),
    ("a client result that fails", async wish =>
    {
        await using var connection = Make(wish);
        Func<string, int> refuse = _ => throw new InvalidOperationException("I don't know");
        connection.On("Question", refuse);
        await connection.StartAsync();
        Equal(await connection.InvokeAsync<string>("AskCaller", "x"), "HubException: I don't know");
    }),
    ("groups", async wish =>
    {
        var group = $"group {Guid.NewGuid()}";
        await using var first = Make(wish);
        await using var second = Make(wish);
        var received = Channel.CreateUnbounded<string>();
        first.On<string>("Message", text => received.Writer.TryWrite($"first {text}"));
        second.On<string>("Message", text => received.Writer.TryWrite($"second {text}"));
        await first.StartAsync();
        await second.StartAsync();
        await first.InvokeAsync("Join", group);
        await second.InvokeAsync("SendToGroup", group, "one");
        Equal(await received.Reader.ReadAsync().AsTask().WaitAsync(limit), "first one");
        await second.InvokeAsync("Join", group);
        await second.InvokeAsync("SendToOthersInGroup", group, "two");
        Equal(await received.Reader.ReadAsync().AsTask().WaitAsync(limit), "first two");
        await first.InvokeAsync("Leave", group);
        await first.InvokeAsync("SendToGroup", group, "three");
        Equal(await received.Reader.ReadAsync().AsTask().WaitAsync(limit), "second three");
    }),
    ("texts of errors", async wish =>
    {
        await using var connection = await Start(wish);
        foreach (var (call, text) in new (Func<Task>, string)[]
        {
            (() => connection.InvokeAsync("Unknown"), "Failed to invoke 'Unknown' due to an error on the server. HubException: Method does not exist."),
            (() => connection.InvokeAsync("Add", 1), "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but target expects 2."),
            (() => connection.InvokeAsync("Fail", "oh"), "An unexpected error occurred invoking 'Fail' on the server. InvalidOperationException: oh"),
            (() => connection.InvokeAsync("FailForCaller", "oh"), "An unexpected error occurred invoking 'FailForCaller' on the server. HubException: oh"),
            (() => connection.InvokeAsync("ForAdmins"), "Failed to invoke 'ForAdmins' because user is unauthorized"),
            (() => connection.InvokeAsync("Count", 1), "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation."),
        })
        {
            Equal((await Throws<HubException>(call)).Message, text);
        }
    }),
    ("errors where details are off", async wish =>
    {
        await using var connection = await Start(wish with { Path = "/quiet" });
        var error = await Throws<HubException>(() => connection.InvokeAsync("Fail", "secret"));
        Equal(error.Message, "An unexpected error occurred invoking 'Fail' on the server.");
    }),
    ("a token", async wish =>
    {
        var token = await http.GetStringAsync($"{baseUrl}/generateJwtToken?user=sharp&lifetime=60");
        await using var connection = await Start(wish with { Path = "/authorizedhub", Token = token });
        Equal(await connection.InvokeAsync<string>("WhoAmI"), "sharp");
    }),
    ("no token", async wish =>
    {
        await using var connection = Make(wish with { Path = "/authorizedhub" });
        var error = await Throws<HttpRequestException>(() => connection.StartAsync());
        Equal((int?)error.StatusCode, 401);
    }),
    ("the server closes", async wish =>
    {
        await using var connection = await Start(wish);
        var closed = new TaskCompletionSource<Exception?>();
        connection.Closed += error =>
        {
            closed.SetResult(error);
            return Task.CompletedTask;
        };
        await connection.SendAsync("Abort");
        Equal(await closed.Task.WaitAsync(limit), null);
    }),
    ("the client stops and starts", async wish =>
    {
        await using var connection = await Start(wish);
        var id = connection.ConnectionId!;
        await connection.StopAsync();
        Equal(await ObservedOf(id, "disconnected"), "disconnected none");
        await connection.StartAsync();
        True(connection.ConnectionId != id, "a new id");
        Equal(await connection.InvokeAsync<string>("Echo", "again"), "again");
    }),
    ("a lost connection is made again", async wish =>
    {
        await using var connection = Make(wish with { Reconnects = true });
        var reconnecting = new TaskCompletionSource();
        var reconnected = new TaskCompletionSource<string?>();
        connection.Reconnecting += _ =>
        {
            reconnecting.TrySetResult();
            return Task.CompletedTask;
        };
        connection.Reconnected += id =>
        {
            reconnected.TrySetResult(id);
            return Task.CompletedTask;
        };
        await connection.StartAsync();
        var first = connection.ConnectionId;
        // The server's limit for a message ends the connection and allows to come again.
        await connection.SendAsync("Echo", new string('x', 40_000));
        await reconnecting.Task.WaitAsync(limit);
        var id = await reconnected.Task.WaitAsync(limit);
        True(id is not null && id != first, "a new id");
        Equal(await connection.InvokeAsync<string>("Echo", "again"), "again");
    }),
    ("many calls at once", async wish =>
    {
        await using var connection = await Start(wish);
        var calls = Enumerable.Range(0, 200).Select(number => connection.InvokeAsync<int>("Add", number, 1));
        var sums = await Task.WhenAll(calls);
        Equal(sums.Sum(), 200 * 201 / 2);
    }),
    ("a large result", async wish =>
    {
        await using var connection = await Start(wish);
        Equal((await connection.InvokeAsync<string>("Large", 500_000)).Length, 500_000);
    }),
];

(string Name, Func<Wish, Task> Run)[] overWebSockets =
[
    ("without negotiation", async wish =>
    {
        await using var connection = await Start(wish with { SkipsNegotiation = true });
        Equal(connection.ConnectionId, null);
        Equal(await connection.InvokeAsync<string>("Echo", "direct"), "direct");
    }),
    ("a lost socket goes unnoticed where the connection is kept", async wish =>
    {
        var sockets = new List<WebSocket>();
        await using var connection = Make(wish with { Path = "/stateful", IsStateful = true, Sockets = sockets });
        var noticed = new List<string>();
        connection.Reconnecting += _ =>
        {
            noticed.Add("reconnecting");
            return Task.CompletedTask;
        };
        connection.Closed += _ =>
        {
            noticed.Add("closed");
            return Task.CompletedTask;
        };
        await connection.StartAsync();
        var id = connection.ConnectionId;
        var door = $"door{Guid.NewGuid():N}";
        var held = connection.InvokeAsync<string>("Hold", door);
        await Observed(connection, $"holding {door}");
        sockets[^1].Abort();
        var sent = connection.InvokeAsync<string>("Echo", "in between");
        await http.GetStringAsync($"{baseUrl}/open/{door}");
        Equal(await held.WaitAsync(limit), door);
        Equal(await sent.WaitAsync(limit), "in between");
        Equal(await connection.InvokeAsync<string>("ConnectionId"), id);
        Equal(sockets.Count, 2);
        Equal(noticed.Count, 0);
    }),
];

(string Name, Func<Wish, Task> Run)[] once =
[
    ("a redirect of negotiate", async wish =>
    {
        await using var connection = await Start(wish with { Path = $"/redirect?baseUrl={baseUrl}", Transport = null });
        Equal(await connection.InvokeAsync<int>("GetNumRedirects"), 1);
    }),
    ("a redirect of negotiate with a token", async wish =>
    {
        await using var connection = await Start(wish with { Path = $"/redirect-with-token?baseUrl={baseUrl}", Transport = null });
        Equal(await connection.InvokeAsync<string>("WhoAmI"), "redirected");
    }),
    ("falls back where there are no WebSockets", async wish =>
    {
        var path = "/testhub-nowebsockets";
        await using var json = await Start(wish with { Path = path, Transport = null });
        Equal(await json.InvokeAsync<string>("GetActiveTransportName"), "ServerSentEvents");
        await using var binary = await Start(wish with { Path = path, Transport = null, Protocol = "messagepack" });
        Equal(await binary.InvokeAsync<string>("GetActiveTransportName"), "LongPolling");
    }),
];

var checks = new List<(string Name, Func<Task> Run)>();
foreach (var (transport, protocol) in combinations)
{
    var isWebSocket = transport == HttpTransportType.WebSockets;
    foreach (var (name, run) in isWebSocket ? everywhere.Concat(overWebSockets) : everywhere)
    {
        checks.Add(($"{name}, {transport}, {protocol}", () => run(new(transport, protocol))));
    }
}
foreach (var (name, run) in once)
{
    checks.Add((name, () => run(new(null, "json"))));
}

await Parallel.ForEachAsync(checks, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (check, _) =>
{
    string? failure = null;
    try
    {
        await check.Run().WaitAsync(2 * limit);
    }
    catch (Exception exception)
    {
        failure = exception.ToString();
    }
    lock (http)
    {
        Console.WriteLine(JsonSerializer.Serialize(new { check = check.Name, failure }));
    }
});

HubConnection Make(Wish wish)
{
    var builder = new HubConnectionBuilder().WithUrl($"{baseUrl}{wish.Path}", options =>
    {
        if (wish.Transport is { } transport)
        {
            options.Transports = transport;
        }
        options.SkipNegotiation = wish.SkipsNegotiation;
        if (wish.Token is not null)
        {
            options.AccessTokenProvider = () => Task.FromResult<string?>(wish.Token);
        }
        if (wish.Sockets is { } sockets)
        {
            options.WebSocketFactory = async (context, cancellation) =>
            {
                var socket = new ClientWebSocket();
                await socket.ConnectAsync(context.Uri, cancellation);
                sockets.Add(socket);
                return socket;
            };
        }
    });
    if (wish.Protocol == "messagepack")
    {
        builder.AddMessagePackProtocol();
    }
    if (wish.Reconnects)
    {
        builder.WithAutomaticReconnect([TimeSpan.Zero]);
    }
    if (wish.IsStateful)
    {
        builder.WithStatefulReconnect();
    }
    return builder.Build();
}

async Task<HubConnection> Start(Wish wish)
{
    var connection = Make(wish);
    await connection.StartAsync();
    return connection;
}

Task<string> Observed(HubConnection connection, string start) => ObservedOf(connection.ConnectionId!, start);

Task<string> ObservedOf(string id, string start) =>
    http.GetStringAsync($"{baseUrl}/observed/{id}/{Uri.EscapeDataString(start)}");

static async IAsyncEnumerable<int> Numbers(int count)
{
    for (var number = 0; number < count; number++)
    {
        yield return number;
        await Task.Yield();
    }
}

static void Equal<T>(T actual, T expected)
{
    if (!EqualityComparer<T>.Default.Equals(actual, expected))
    {
        throw new InvalidOperationException($"It is {actual?.ToString() ?? "null"}, not {expected?.ToString() ?? "null"}.");
    }
}

static void True(bool condition, string what)
{
    if (!condition)
    {
        throw new InvalidOperationException($"There is not {what}.");
    }
}

static async Task<TException> Throws<TException>(Func<Task> call) where TException : Exception
{
    try
    {
        await call();
    }
    catch (TException exception)
    {
        return exception;
    }
    throw new InvalidOperationException("There was no error.");
}

/// <summary>How to connect.</summary>
internal sealed record Wish(HttpTransportType? Transport, string Protocol)
{
    public string Path { get; init; } = "/wire";
    public string? Token { get; init; }
    public bool SkipsNegotiation { get; init; }
    public bool Reconnects { get; init; }
    public bool IsStateful { get; init; }

    /// <summary>Where the sockets are kept that are opened.</summary>
    public List<WebSocket>? Sockets { get; init; }
}
