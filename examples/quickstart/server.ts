import express from 'express'
import { tagcache } from 'tagcache/express'

const products = new Map([['1', { id: '1', name: 'Teapot', price: 30 }]])
const { cached, invalidates } = tagcache({ ttl: 60 })
const app = express().use(express.json())

app.get('/products/:id', cached({ tags: (req) => [`product:${req.params.id}`] }), (req, res) => {
  res.json(products.get(req.params.id) ?? null)
})
app.put(
  '/products/:id',
  invalidates((req) => [`product:${req.params.id}`]),
  (req, res) => {
    products.set(req.params.id, { ...req.body, id: req.params.id })
    res.json(products.get(req.params.id))
  },
)
app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log('listening'))
