using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.Connections.Features;
using Microsoft.AspNetCore.SignalR;

/// <summary>What the cases on the wire need; its subclasses differ in their options only.</summary>
public class WireHub : Hub
{
    public override Task OnConnectedAsync()
    {
        Observed.Add(Context.ConnectionId, "connected");
        return base.OnConnectedAsync();
    }

    public override Task OnDisconnectedAsync(Exception? exception)
    {
        Observed.Add(Context.ConnectionId, $"disconnected {Observed.Describe(exception)}");
        return base.OnDisconnectedAsync(exception);
    }

    // --- plain ---

    public string Echo(string text) => text;

    public object? EchoAny(object? value) => value;

    public int Add(int left, int right) => left + right;

    public void Nothing() => Observed.Add(Context.ConnectionId, "nothing");

    public string? Null() => null;

    public string Large(int length) => new('x', length);

    public DateTime When() => new(2001, 2, 3, 4, 5, 6, DateTimeKind.Utc);

    public byte[] Bytes() => [1, 2, 3];

    public long Big() => 9007199254740991;

    public string ConnectionId() => Context.ConnectionId;

    public string? UserId() => Context.UserIdentifier;

    public string Transport() => Context.Features.Get<IHttpTransportFeature>()!.TransportType.ToString();

    public string? Query(string name) => Context.GetHttpContext()!.Request.Query[name];

    public void Fail(string message) => throw new InvalidOperationException(message);

    public void FailForCaller(string message) => throw new HubException(message);

    [HubMethodName("Another.Name")]
    public string Named() => "named";

    [Authorize]
    public string ForUsers() => "for users";

    [Authorize(Roles = "admin")]
    public string ForAdmins() => "for admins";

    public void Abort() => Context.Abort();

    protected string Hidden() => "hidden";

    /// <summary>Returns when somebody has opened the door.</summary>
    public async Task<string> Hold(string door)
    {
        Observed.Add(Context.ConnectionId, $"holding {door}");
        await Doors.WaitAt(door);
        return door;
    }

    /// <summary>As <see cref="Hold"/>: .NET 10 knows no cancellation of a call without a stream.</summary>
    public Task<string> HoldUnlessCanceled(string door) => Hold(door);

    // --- to clients ---

    public Task SendToCaller(string target, string text) => Clients.Caller.SendAsync(target, text);

    public async Task SendManyToCaller(int count, int size)
    {
        for (var number = 0; number < count; number++)
        {
            await Clients.Caller.SendAsync("Numbered", number, new string('x', size));
        }
    }

    public Task SendToClient(string id, string text) => Clients.Client(id).SendAsync("Message", text);

    public Task SendToClients(string[] ids, string text) => Clients.Clients(ids).SendAsync("Message", text);

    public Task SendToAll(string text) => Clients.All.SendAsync("Message", text);

    public async Task FloodAll(int count, int size)
    {
        for (var number = 0; number < count; number++)
        {
            await Clients.All.SendAsync("Numbered", number, new string('x', size));
        }
    }

    public Task SendToAllExcept(string[] ids, string text) => Clients.AllExcept(ids).SendAsync("Message", text);

    public Task SendToOthers(string text) => Clients.Others.SendAsync("Message", text);

    public Task SendToGroup(string name, string text) => Clients.Group(name).SendAsync("Message", text);

    public Task SendToGroups(string[] names, string text) => Clients.Groups(names).SendAsync("Message", text);

    public Task SendToGroupExcept(string name, string[] ids, string text) =>
        Clients.GroupExcept(name, ids).SendAsync("Message", text);

    public Task SendToOthersInGroup(string name, string text) => Clients.OthersInGroup(name).SendAsync("Message", text);

    public Task SendToUser(string user, string text) => Clients.User(user).SendAsync("Message", text);

    public Task SendToUsers(string[] users, string text) => Clients.Users(users).SendAsync("Message", text);

    public Task Join(string group) => Groups.AddToGroupAsync(Context.ConnectionId, group);

    public Task Leave(string group) => Groups.RemoveFromGroupAsync(Context.ConnectionId, group);

    public Task JoinFor(string id, string group) => Groups.AddToGroupAsync(id, group);

    // --- streams to the client ---

    public async IAsyncEnumerable<int> Count(int to)
    {
        for (var number = 0; number < to; number++)
        {
            yield return number;
            await Task.Yield();
        }
    }

    public ChannelReader<int> CountByChannel(int to)
    {
        var channel = Channel.CreateUnbounded<int>();
        for (var number = 0; number < to; number++)
        {
            channel.Writer.TryWrite(number);
        }
        channel.Writer.Complete();
        return channel.Reader;
    }

    /// <summary>One item, then none until it is cancelled.</summary>
    public async IAsyncEnumerable<string> Endless([EnumeratorCancellation] CancellationToken token)
    {
        yield return "first";
        try
        {
            await Task.Delay(Timeout.Infinite, token);
        }
        finally
        {
            Observed.Add(Context.ConnectionId, "stream canceled");
        }
    }

    public async IAsyncEnumerable<int> FailAfter(int count, string message, bool isForCaller)
    {
        for (var number = 0; number < count; number++)
        {
            yield return number;
            await Task.Yield();
        }
        throw isForCaller ? new HubException(message) : new InvalidOperationException(message);
    }

    public IAsyncEnumerable<int> NoStream() => null!;

    // --- streams from the client ---

    public async Task<int> Sum(IAsyncEnumerable<int> numbers)
    {
        var sum = 0;
        await foreach (var number in numbers)
        {
            sum += number;
        }
        return sum;
    }

    public async Task<string> Join2(string separator, IAsyncEnumerable<string> left, IAsyncEnumerable<string> right)
    {
        var lists = await Task.WhenAll(Read(left), Read(right));
        return string.Join(separator, lists.SelectMany(each => each));

        static async Task<List<string>> Read(IAsyncEnumerable<string> items)
        {
            var list = new List<string>();
            await foreach (var item in items)
            {
                list.Add(item);
            }
            return list;
        }
    }

    /// <summary>How an upload ends, for the test to ask about.</summary>
    public async Task ObserveUpload(IAsyncEnumerable<string> items)
    {
        var id = Context.ConnectionId;
        try
        {
            await foreach (var item in items)
            {
                Observed.Add(id, $"item {item}");
            }
            Observed.Add(id, "upload done");
        }
        catch (Exception exception)
        {
            Observed.Add(id, $"upload failed {Observed.Describe(exception)}");
            throw;
        }
    }

    public string FirstOnly(IAsyncEnumerable<string> items) => "returned early";

    public async IAsyncEnumerable<string> Shout(IAsyncEnumerable<string> items)
    {
        await foreach (var item in items)
        {
            yield return item.ToUpperInvariant();
        }
    }

    /// <summary>Takes items only after the door is open.</summary>
    public async Task<int> SumBehindDoor(string door, IAsyncEnumerable<int> numbers)
    {
        Observed.Add(Context.ConnectionId, $"holding {door}");
        await Doors.WaitAt(door);
        return await Sum(numbers);
    }

    // --- client results ---

    /// <summary>What a client answers, or why it does not.</summary>
    public async Task<string> Ask(string id, string question)
    {
        try
        {
            return $"value {await Clients.Client(id).InvokeAsync<int>("Question", question, CancellationToken.None)}";
        }
        catch (Exception exception)
        {
            Observed.Add(Context.ConnectionId, $"ask failed {Observed.Describe(exception)}");
            return Observed.Describe(exception);
        }
    }

    public Task<string> AskCaller(string question) => Ask(Context.ConnectionId, question);

    public async Task<string> AskCallerWithin(int milliseconds)
    {
        using var source = new CancellationTokenSource(milliseconds);
        try
        {
            return $"value {await Clients.Caller.InvokeAsync<int>("Question", "quick", source.Token)}";
        }
        catch (Exception exception)
        {
            return Observed.Describe(exception);
        }
    }

    public async Task<int[]> AskCallerTwice()
    {
        return await Task.WhenAll(
            Clients.Caller.InvokeAsync<int>("Question", "one", CancellationToken.None),
            Clients.Caller.InvokeAsync<int>("Question", "two", CancellationToken.None));
    }
}

/// <summary>Detailed errors off.</summary>
public sealed class QuietHub : WireHub;

/// <summary>Where broadcasts disturb nobody else.</summary>
public sealed class CrowdHub : WireHub;

/// <summary>Where somebody does not read.</summary>
public sealed class SlowHub : WireHub;

/// <summary>A short time for the handshake.</summary>
public sealed class ImpatientHub : WireHub;

/// <summary>Short times for pings.</summary>
public sealed class QuickHub : WireHub;

/// <summary>Allows stateful reconnect.</summary>
public sealed class StatefulHub : WireHub;

/// <summary>Allows stateful reconnect, with a buffer of 1,000 bytes.</summary>
public sealed class SmallBufferHub : WireHub;

/// <summary>Knows JSON only.</summary>
public sealed class JsonOnlyHub : WireHub;

/// <summary>Two invocations of a client at a time.</summary>
public sealed class ParallelHub : WireHub;

/// <summary>Upload streams hold two items.</summary>
public sealed class SmallStreamHub : WireHub;

/// <summary>Messages of up to 100 bytes.</summary>
public sealed class SmallMessageHub : WireHub;

/// <summary>OnConnectedAsync fails.</summary>
public sealed class RefusingHub : WireHub
{
    public override Task OnConnectedAsync() => throw new InvalidOperationException("Not today.");
}

/// <summary>OnConnectedAsync fails, detailed errors off.</summary>
public sealed class QuietRefusingHub : WireHub
{
    public override Task OnConnectedAsync() => throw new InvalidOperationException("Not today.");
}

/// <summary>Asks a client before it is connected.</summary>
public sealed class HastyHub : WireHub
{
    public override async Task OnConnectedAsync() =>
        await Clients.Caller.InvokeAsync<int>("Question", "hasty", CancellationToken.None);
}

/// <summary>Sends as soon as somebody is there.</summary>
public sealed class GreetingHub : WireHub
{
    public override async Task OnConnectedAsync()
    {
        await Clients.Caller.SendAsync("Message", "welcome");
        await base.OnConnectedAsync();
    }
}
