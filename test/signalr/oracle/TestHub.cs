using System.Threading.Channels;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.Http.Connections.Features;
using Microsoft.AspNetCore.SignalR;

public class CustomObject
{
    public string? Name { get; set; }
    public int Value { get; set; }
}

public class ComplexObject
{
    public byte[]? ByteArray { get; set; }
    public DateTime DateTime { get; set; }
    public Guid Guid { get; set; }
    public int[]? IntArray { get; set; }
    public string? String { get; set; }
}

/// <summary>What the functional cases of the clients need.</summary>
public class TestHub : Hub
{
    public string Echo(string message) => message;

    public string GetCallerConnectionId() => Context.ConnectionId;

    public int GetNumRedirects() => int.Parse(Context.GetHttpContext()!.Request.Query["numRedirects"].ToString());

    public void ThrowException(string message) => throw new InvalidOperationException(message);

    public Task InvokeWithString(string message) => Clients.Client(Context.ConnectionId).SendAsync("Message", message);

    public Task SendCustomObject(CustomObject value) => Clients.Client(Context.ConnectionId).SendAsync("CustomObject", value);

    public ChannelReader<string> Stream()
    {
        var channel = Channel.CreateUnbounded<string>();
        foreach (var item in new[] { "a", "b", "c" })
        {
            channel.Writer.TryWrite(item);
        }
        channel.Writer.Complete();
        return channel.Reader;
    }

    public ChannelReader<int> InfiniteStream(CancellationToken token)
    {
        var channel = Channel.CreateUnbounded<int>();
        var caller = Clients.Caller;
        token.Register(() => _ = caller.SendAsync("StreamCanceled", CancellationToken.None));
        return channel.Reader;
    }

    public async Task<string> StreamingConcat(ChannelReader<string> stream)
    {
        var text = "";
        await foreach (var part in stream.ReadAllAsync())
        {
            text += part;
        }
        return text;
    }

    public ChannelReader<int> EmptyStream()
    {
        var channel = Channel.CreateUnbounded<int>();
        channel.Writer.Complete();
        return channel.Reader;
    }

    public ChannelReader<string> StreamThrowException(string message) => throw new InvalidOperationException(message);

    public string GetActiveTransportName() =>
        Context.Features.Get<IHttpTransportFeature>()!.TransportType.ToString();

    public ComplexObject EchoComplexObject(ComplexObject value) => value;

    public ComplexObject SendComplexObject() => new()
    {
        ByteArray = [0x1, 0x2, 0x3],
        DateTime = new DateTime(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc),
        Guid = new Guid("00010203-0405-0607-0706-050403020100"),
        IntArray = [1, 2, 3],
        String = "hello world",
    };

    public string GetContentTypeHeader() => GetHeader("Content-Type") ?? "";

    public string? GetHeader(string name) => Context.GetHttpContext()!.Request.Headers[name].ToString();

    public string? GetCookie(string name) => Context.GetHttpContext()!.Request.Cookies[name];
}

[Authorize]
public class AuthorizedHub : Hub
{
    public string Echo(string message) => message;

    public string? WhoAmI() => Context.UserIdentifier;
}

public class UncreatableHub : Hub
{
    public UncreatableHub() => throw new InvalidOperationException("This hub cannot be made.");

    public string Echo(string message) => message;
}
